"""What cards say about every model of a task: what it gives, how it is used, and what can make its scores wrong."""

from __future__ import annotations

from kerazoo.models.entry import ModelTask

TASKS: dict[ModelTask, str] = {
    "measurements": "one answer per vector of measurements",
    "classification": "one class per image or patch",
    "semantic": "one class per pixel, or single objects from their interior and border",
    "instances": "single objects",
    "objects": "single objects, without any training",
}

_WITH_MASKS = (
    ("kerazoo init {name} --images images --masks masks -o {name}.yaml", "measures your data"),
    ("kerazoo train {name}.yaml -o run", ""),
    ("kerazoo evaluate run --images test/images --masks test/masks --json scores.json", ""),
)
COMMANDS: dict[ModelTask, tuple[tuple[str, str], ...]] = {
    "semantic": (
        *_WITH_MASKS,
        ("kerazoo predict run new/*.tif -o predicted", ""),
        ("kerazoo export run -o {name}.zip", "the bundle for Fiji, ilastik and QuPath"),
    ),
    "instances": (
        *_WITH_MASKS,
        ("kerazoo predict run new/*.tif -o predicted", "label images"),
        ("kerazoo export run -o {name}.zip", "the bundle"),
    ),
    "classification": (
        ("kerazoo init {name} --folder images -o {name}.yaml", "one folder per class; or --table, or --images --masks"),
        ("kerazoo train {name}.yaml -o run", ""),
        ("kerazoo evaluate run --folder test --json scores.json", ""),
        ("kerazoo predict run new/*.png -o predicted", ""),
        ("kerazoo export run -o {name}.zip", "the bundle for Fiji and QuPath"),
    ),
    "objects": (
        ("kerazoo predict {name} new/*.tif -o predicted", "nothing has to be trained"),
        ("kerazoo evaluate {name} --images test/images --masks test/masks --json scores.json", ""),
    ),
}
"""By task: how a model is created, trained and applied, with comments. Those of `measurements` are used in Python, see
`kerazoo.models.entry.Card.program`."""

_SHIFT = (
    "**Another microscope is another world.** The scores hold for images like those that were scored. With "
    "another scanner, stain, objective, camera or tissue they can fall without any warning: annotate a few of the "
    "new images and score those first."
)
_GROUPS = (
    "**Neighbours are no strangers.** Images of one slide, well, animal or patient resemble each other. Where "
    "they lie on both sides of the split, the network is praised for recognising the slide: name the column as "
    "`split.group`."
)
_TUNED = (
    "**Images that chose the thresholds are no test.** Thresholds and the best epoch are chosen on the validation "
    "images, so that their scores are somewhat too good. What you publish, score on images that chose nothing."
)
_RARE = (
    "**Rare classes hide.** Where one class covers most of the {what}, calling everything that class gives a high "
    "accuracy: look at the scores of each class, and at `balanced_accuracy`."
)
_LEAKS = (
    "**Labels leak.** If one class was recorded on another day, at another size, with another file format or "
    "scanner, that is what is learned: image size or brightness alone must not tell the classes apart. Record all "
    "classes alike, and look at what is misclassified."
)

WARNINGS: dict[ModelTask, tuple[str, ...]] = {
    "semantic": (_SHIFT, _GROUPS, _TUNED, _RARE.format(what="pixels")),
    "instances": (_SHIFT, _GROUPS, _TUNED),
    "classification": (_SHIFT, _GROUPS, _LEAKS, _RARE.format(what="patches"), _TUNED),
    "measurements": (_GROUPS, _LEAKS, _RARE.format(what="samples")),
    "objects": (
        _SHIFT,
        "**Values that were set by eye are chosen too.** A blur and a smallest size that were tried out on the scored "
        "images give scores that are somewhat too good.",
    ),
}
"""By task; in the words of the lecture's end: a network is as good as the images that it was tried on."""
