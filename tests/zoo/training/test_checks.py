"""What cannot teach is refused before training begins."""

import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.config import Config
from kerazoo.files.pairs import Sample
from kerazoo.training.checks import check_annotated, check_ignored

EMPTY, FULL, BOTH = np.zeros((4, 4), np.int32), np.ones((4, 4), np.int32), np.eye(4, dtype=np.int32)
NAMES = {"annotation": "classes", "classes": ["a", "b"]}


def config(**data):
    return Config(model={"name": "unet2d"}, data=data)


def samples(*masks):
    return [Sample(str(number), mask[..., None], mask) for number, mask in enumerate(masks)]


@pytest.mark.parametrize(
    ("train", "validation", "data", "message"),
    [
        ((EMPTY, EMPTY), (BOTH,), {}, "None of the 2 images to train has an object"),
        ((BOTH,), (EMPTY,), {"annotation": "binary"}, "None of the 1 images to validate has an object.*split.seed"),
        ((BOTH,), (9 * FULL,), {"ignore": 9}, "None of the 1 images to validate"),
        ((FULL,), (BOTH,), {}, "Every pixel of the 1 images to train belongs to an object.*data.background"),
        ((FULL, FULL), (BOTH,), NAMES, "All pixels of the 2 images to train are b"),
    ],
)
def test_masks_that_teach_nothing(train, validation, data, message):
    with pytest.raises(UserError, match=message):
        check_annotated(samples(*train), samples(*validation), config(**data))


def test_masks_that_teach():
    check_annotated(samples(EMPTY, BOTH), samples(BOTH), config())
    check_annotated(samples(BOTH), samples(FULL), config(**NAMES))
    check_annotated([], [], config(annotation="image"))


def test_ignored_classes():
    with pytest.raises(UserError, match="the value of the class 'b', which would be an output that is never learned"):
        check_ignored(config(**NAMES, class_values=[5, 0], ignore=0))
    check_ignored(config(**NAMES, class_values=[1, 2], ignore=0))
