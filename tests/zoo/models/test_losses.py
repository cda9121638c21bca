"""Every family names the terms of its loss, and every term of the classes' loss teaches alone."""

import keras
import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.config import _LOSS_TERMS, LossConfig
from kerazoo.models.configure import family_of, make_config
from kerazoo.models.registry import list_models
from kerazoo.models.shared.class_loss import make_loss

NONE = dict.fromkeys(_LOSS_TERMS, 0.0)


def test_every_weight_is_a_term():
    """What is no weight is a parameter of a term, `TERM_NAME`, or weighs the classes."""
    of_terms = {f"{term}_" for term in _LOSS_TERMS}
    parameters = {key for key in LossConfig.model_fields if any(key.startswith(term) for term in of_terms)}
    assert set(LossConfig.model_fields) - parameters - {"class_weights"} == set(_LOSS_TERMS)


@pytest.mark.parametrize("term", _LOSS_TERMS)
def test_each_term_is_lower_where_the_prediction_is_better(term):
    config = LossConfig(**NONE | {term: 1.0})
    assert config.terms == {term: 1.0}
    loss = make_loss(config, np.ones(2))
    truth = np.array([[[[0], [1]], [[1], [0]]]], np.uint8)
    right = np.eye(2, dtype=np.float32)[truth[..., 0]]
    good, poor = (0.8 * right + 0.1, 0.4 * right + 0.3)
    assert float(loss(truth, good)) < float(loss(truth, poor))


def test_a_loss_without_terms_is_refused():
    with pytest.raises(UserError, match="all terms have the weight 0"):
        make_loss(LossConfig(**NONE), np.ones(2))


@pytest.mark.parametrize(
    "name", [model.name for model in list_models() if model.task not in ("measurements", "objects")]
)
def test_each_family_has_a_loss_and_names_its_terms(name):
    annotation = "classes" if "classification" in {m.task for m in list_models() if m.name == name} else "labels"
    config = make_config({"model": {"name": name}, "data": {"annotation": annotation, "classes": ["a", "b"]}})
    family = family_of(config)
    loss = family.loss(config, np.ones(2))
    for one in loss.values() if isinstance(loss, dict) else [loss]:
        assert isinstance(one, keras.losses.Loss)
    terms = family.loss_terms(config)
    assert terms
    assert all(weight > 0 for weight in terms.values())
