"""Classification metrics in two steps: a confusion matrix or scores first, pure reductions of them after.

The confusion matrix of two halves of the data is the sum of their matrices; every number below comes from it, except
calibration and the curves, which need the scores themselves.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


def confusion_matrix(truth: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """counts[t, a]: how many samples of class t were answered a; classes x classes int64."""
    return np.bincount(truth * classes + answer, minlength=classes * classes).reshape(classes, classes)


def accuracy(confusion: np.ndarray) -> float:
    """Share of samples answered right; nan without samples."""
    return _ratio(float(np.trace(confusion)), float(confusion.sum()))


def per_class(confusion: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """precision, recall, f1 and support of each class; nan where there is nothing to divide by."""
    table = {}
    for index, name in enumerate(names):
        right = float(confusion[index, index])
        support, answered = float(confusion[index].sum()), float(confusion[:, index].sum())
        table[name] = {
            "precision": _ratio(right, answered),
            "recall": _ratio(right, support),
            "f1": _ratio(2 * right, support + answered),
            "support": int(support),
        }
    return table


def macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 over the classes that have samples; nan without any."""
    present = np.flatnonzero(confusion.sum(1))
    if not len(present):
        return float("nan")
    right = np.diag(confusion)
    f1 = 2 * right / np.maximum(confusion.sum(0) + confusion.sum(1), 1)
    return float(f1[present].mean())


def majority_baseline(train_labels: np.ndarray, truth: np.ndarray) -> float:
    """Accuracy of always answering the most frequent training class."""
    return float((truth == np.bincount(train_labels).argmax()).mean()) if len(truth) else float("nan")


def reliability(scores: np.ndarray, truth: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """Confidence against accuracy in `bins` equal bins of the top score; rows of the bins that hold samples.

    scores: N x classes probabilities. Each row: confidence (mean), accuracy, share (of the samples).
    """
    confidence = scores.max(1)
    right = scores.argmax(1) == truth
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "confidence": float(confidence[which == index].mean()),
            "accuracy": float(right[which == index].mean()),
            "share": float((which == index).mean()),
        }
        for index in range(bins)
        if (which == index).any()
    ]


def calibration_error(rows: Sequence[dict[str, float]]) -> float:
    """Expected calibration error (Guo et al. 2017): mean |confidence - accuracy| over the bins, by share."""
    return float(sum(row["share"] * abs(row["confidence"] - row["accuracy"]) for row in rows))


def curve_points(scores: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """ROC and precision-recall of all one-against-the-rest decisions pooled (micro average).

    scores: N x classes. Returns equally long arrays false_positive_rate, true_positive_rate (= recall) and precision,
    one point for each distinct threshold from high to low.
    """
    positive = (np.arange(scores.shape[1]) == truth[:, None]).ravel()
    flat = scores.ravel()
    order = np.argsort(-flat, kind="stable")
    flat, positive = flat[order], positive[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(flat)), len(flat) - 1)
    hits = np.cumsum(positive)[last_of_ties].astype(float)
    answered = last_of_ties + 1.0
    return {
        "false_positive_rate": (answered - hits) / max(1, (~positive).sum()),
        "true_positive_rate": hits / max(1, positive.sum()),
        "precision": hits / answered,
    }


def thin(points: dict[str, np.ndarray], at_most: int) -> list[dict[str, Any]]:
    """At most `at_most` rows of equally long arrays, evenly spaced, the ends included: a plot needs no more."""
    count = len(next(iter(points.values())))
    chosen = np.unique(np.linspace(0, count - 1, min(at_most, count)).round().astype(int))
    return [{name: round(float(values[index]), 6) for name, values in points.items()} for index in chosen]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
