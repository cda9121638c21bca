"""What the three normalisations do to an image's values."""

import numpy as np
import pytest

from kerazoo.course.normalisation import normalise


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_three_normalisations(dtype, largest):
    image = np.random.default_rng(1).integers(0, largest, (50, 60, 1), dtype, endpoint=True)
    image[0, 0], image[0, 1] = 0, largest
    made = normalise(image)
    assert list(made) == ["scaling", "centering", "standardisation"]
    assert (made["scaling"].min(), made["scaling"].max()) == (0, 1)
    assert abs(made["centering"].mean()) < 1e-6
    np.testing.assert_allclose(made["centering"].std(), made["scaling"].std(), rtol=1e-5)
    assert abs(made["standardisation"].mean()) < 1e-5
    np.testing.assert_allclose(made["standardisation"].std(), 1, rtol=1e-5)
    for values in made.values():
        assert values.dtype == np.float32
        np.testing.assert_allclose(np.corrcoef(values.ravel(), image.ravel())[0, 1], 1, atol=1e-6)
