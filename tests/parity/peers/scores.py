"""Scores of label images by the official packages; each environment has one of them."""

import numpy as np


def of_stardist(given):
    """True positives, objects and scores at every threshold, for every pair of label images and for all together."""
    from stardist.matching import matching, matching_dataset

    truths, predictions, thresholds = given["truths"], given["predictions"], given["thresholds"].tolist()
    singles = [
        [(found.tp, found.n_true, found.n_pred) for found in (matching(*pair, thresh=at) for at in thresholds)]
        for pair in zip(truths, predictions, strict=True)
    ]
    names = ("accuracy", "precision", "recall", "f1", "panoptic_quality", "mean_matched_score")
    together = matching_dataset(list(truths), list(predictions), thresh=0.5, show_progress=False)
    return {"singles": np.array(singles), "together": np.array([getattr(together, name) for name in names])}


def of_cellpose(given):
    """AP, true positives, false positives and false negatives (image, threshold)."""
    from cellpose.metrics import average_precision

    found = average_precision(list(given["truths"]), list(given["predictions"]), threshold=given["thresholds"].tolist())
    return dict(zip(("ap", "tp", "fp", "fn"), found, strict=True))
