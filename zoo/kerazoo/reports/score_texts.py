"""What the scores are called, and what they mean, for readers of the report."""

from __future__ import annotations

from typing import NamedTuple


class ScoreText(NamedTuple):
    """What the report says of a score."""

    name: str
    meaning: str
    short: str = ""
    """The name where a column is narrow."""


IMAGE_SCORES = {
    "ap_50": ScoreText(
        "AP at IoU 0.5",
        "objects found, of all objects in truth or prediction: TP / (TP + FP + FN); found means an overlap (IoU) of "
        "at least 0.5",
        "AP 50",
    ),
    "ap_75": ScoreText("AP at IoU 0.75", "the same with an overlap of at least 0.75", "AP 75"),
    "ap_50_95": ScoreText("mean AP, IoU 0.5 to 0.95", "mean of the same at 0.50, 0.55, ..., 0.95", "AP 50–95"),
    "panoptic_quality": ScoreText(
        "panoptic quality",
        "F1 at IoU 0.5 times the mean IoU of matches (Kirillov et al. 2019)",
        "PQ",
    ),
    "precision_50": ScoreText("precision at IoU 0.5", "predicted objects that are real", "precision"),
    "recall_50": ScoreText("recall at IoU 0.5", "real objects that are predicted", "recall"),
    "f1_50": ScoreText("F1 at IoU 0.5", "harmonic mean of precision and recall", "F1"),
    "mean_matched_iou": ScoreText(
        "mean IoU of matches",
        "how well the outlines of found objects fit",
        "IoU of matches",
    ),
    "splits": ScoreText("split objects", "real objects that are found in two or more parts", "splits"),
    "merges": ScoreText("merged objects", "predicted objects in which two or more real ones lie", "merges"),
    "dice": ScoreText("Dice", "overlap of the pixels of all objects, 2 TP / (2 TP + FP + FN)", "Dice"),
    "iou": ScoreText("IoU", "overlap of the pixels of all objects, TP / (TP + FP + FN)", "IoU"),
    "accuracy": ScoreText("pixel accuracy", "pixels of the right class", "accuracy"),
    "balanced_accuracy": ScoreText(
        "balanced accuracy",
        "mean over the classes of the pixels that are found",
        "balanced accuracy",
    ),
    "boundary_f": ScoreText(
        "boundary F-score",
        "outlines within 2 pixels of the true ones, and the reverse",
        "boundary F",
    ),
}
"""Scores of label images and class maps, see `kerazoo.evaluation.scores`."""

PATCH_SCORES = {
    "accuracy": ScoreText("accuracy", "patches of the right class; a frequent class counts more than a rare one"),
    "balanced_accuracy": ScoreText(
        "balanced accuracy",
        "the part that is found of each class, averaged over the classes, so that all count the same",
    ),
    "top_2": ScoreText("top 2 accuracy", "patches whose class is among the two that the network finds most likely"),
    "top_3": ScoreText("top 3 accuracy", "patches whose class is among the three that the network finds most likely"),
    "macro_f1": ScoreText("mean F1", "finding all patches of a class and nothing else (F1), averaged over the classes"),
    "cohen_kappa": ScoreText(
        "Cohen's kappa",
        "agreement with the annotation beyond that of chance: 0 is chance, 1 perfect; the number that is reported for "
        "two observers too",
    ),
    "auc": ScoreText(
        "area under the ROC curve",
        "how often a patch of a class has a higher score for it than a patch of another class: 0.5 is chance, 1 "
        "perfect, whatever threshold is chosen; mean over the classes",
    ),
    "log_loss": ScoreText("log loss", "0 is perfect; grows fast where the network is sure and wrong"),
    "brier": ScoreText(
        "Brier score",
        "squared distance of all probabilities from the truth: 0 is perfect, 2 sure and wrong everywhere",
    ),
    "calibration_error": ScoreText(
        "calibration error",
        "how far the stated probability is from the part that is right, on average: at 0, of 100 patches with a "
        "probability of 0.9 just 90 are right",
    ),
    "image_accuracy": ScoreText(
        "accuracy of images",
        "images whose patches have, on average, the highest score for the right class",
    ),
    "image_balanced_accuracy": ScoreText(
        "balanced accuracy of images",
        "the part of the images of each class that is found, averaged over the classes",
    ),
}
"""Scores of classified patches, see `kerazoo.evaluation.classification`."""
