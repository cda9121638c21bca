"""Nothing is on both sides, and a network that learns by heart is found out."""

import numpy as np
import pytest

from kerazoo.course.splitting import divide, overfit


@pytest.mark.parametrize(("number", "part", "held_out"), [(20, 0.25, 5), (2, 0.01, 1), (3, 0.99, 2), (101, 0.2, 20)])
def test_division(number, part, held_out):
    division = divide(number, part)
    assert len(division.validation) == held_out
    np.testing.assert_array_equal(np.sort([*division.training, *division.validation]), range(number))
    np.testing.assert_array_equal(divide(number, part).validation, division.validation)


def test_overfitting_shows_in_the_validation_loss():
    curves, division = overfit()
    assert len(division.validation) == 20
    assert curves.training[-1] < curves.training[curves.best] < curves.training[0]
    assert 0 < curves.best < 60
    assert curves.validation[-1] > 1.2 * curves.validation[curves.best]
