"""A picture of an image with the outlines of its objects, or the colours of its classes."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from kerazoo.files.legend import class_colours

_HUES = 12
_DARK, _BRIGHT = 1.0, 99.8
"""Percentiles of the image that become black and white."""


def overlay(image: np.ndarray, labels: np.ndarray, classes: int = 0) -> np.ndarray:
    """Draw a result on its image.

    Parameters
    ----------
    image
        (y, x, channel); the first three are shown as red, green and blue where there are three or more, else the first.
    labels
        Label image, or class indices, int (y, x).
    classes
        How many classes there are; 0 for objects.

    Returns
    -------
    numpy.ndarray
        uint8 (y, x, 3).
    """
    shown = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
    if shown.dtype != np.uint8 or shown.shape[2] == 1:
        low, high = np.percentile(shown, (_DARK, _BRIGHT))
        shown = np.clip((shown.astype(np.float32) - low) * (255 / max(high - low, 1e-9)), 0, 255).astype(np.uint8)
    picture = np.ascontiguousarray(np.broadcast_to(shown, (*shown.shape[:2], 3)))
    if classes:
        colours = np.array([list(bytes.fromhex(colour[1:])) for colour in class_colours(classes)], np.uint8)
        return cv2.addWeighted(picture, 0.6, colours[labels], 0.4, 0)
    hues = [colorsys.hsv_to_rgb(number / _HUES, 0.9, 1.0) for number in range(_HUES)]
    colours = np.round(255 * np.array(hues)).astype(np.uint8)
    plane, kernel = labels.astype(np.float32), np.ones((3, 3), np.uint8)
    edge = (cv2.erode(plane, kernel) != plane) & (labels > 0)
    edge |= (cv2.dilate(plane, kernel) != plane) & (labels > 0)
    picture[edge] = colours[labels[edge] * 7 % _HUES]  # neighbours, whose numbers are near, differ
    return picture
