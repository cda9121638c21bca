"""The table of the notebook is that of the paper."""

import keras

from kerazoo.course.mobilenet import as_table, rows_of

PAPER = """\
| input | operator | t | c | n | s |
| --- | --- | --- | --- | --- | --- |
| 224 x 224 x 3 | conv2d | - | 32 | 1 | 2 |
| 112 x 112 x 32 | bottleneck | 1 | 16 | 1 | 1 |
| 112 x 112 x 16 | bottleneck | 6 | 24 | 2 | 2 |
| 56 x 56 x 24 | bottleneck | 6 | 32 | 3 | 2 |
| 28 x 28 x 32 | bottleneck | 6 | 64 | 4 | 2 |
| 14 x 14 x 64 | bottleneck | 6 | 96 | 3 | 1 |
| 14 x 14 x 96 | bottleneck | 6 | 160 | 3 | 2 |
| 7 x 7 x 160 | bottleneck | 6 | 320 | 1 | 1 |
| 7 x 7 x 320 | conv2d 1x1 | - | 1280 | 1 | 1 |
| 7 x 7 x 1280 | avgpool 7x7 | - | - | 1 | - |
| 1 x 1 x 1280 | conv2d 1x1 | - | 1000 | 1 | - |"""
"""Table 2 of Sandler et al. (2018), with the size of row 5 that follows from the strides."""


def test_table():
    assert as_table(keras.applications.MobileNetV2(weights=None)) == PAPER


def test_another_width_and_size():
    rows = rows_of(keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=4))
    assert [(row.size, row.channels, row.filters) for row in rows[:3]] == [(96, 3, 16), (48, 16, 8), (48, 8, 8)]
    assert sum(row.repeats for row in rows if row.operator == "bottleneck") == 17
    assert rows[-1].filters == 4
