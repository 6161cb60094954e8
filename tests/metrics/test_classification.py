"""Classification metrics against scikit-learn, and their edges."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from visage.metrics import classification as ours


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N x classes) and true classes of a random classifier."""
    classes, count = draw(st.integers(2, 6)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    scores = rng.dirichlet(np.ones(classes), count).round(draw(st.sampled_from([1, 6])))
    return scores, rng.integers(0, classes, count)


@given(answers())
@settings(max_examples=60, deadline=None)
def test_reductions_of_the_confusion_matrix_agree_with_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = case
    answer, classes = scores.argmax(1), scores.shape[1]
    confusion = ours.confusion_matrix(truth, answer, classes)
    assert (confusion == reference.confusion_matrix(truth, answer, labels=range(classes))).all()
    assert ours.accuracy(confusion) == pytest.approx(reference.accuracy_score(truth, answer))
    wanted = reference.f1_score(truth, answer, labels=np.unique(truth), average="macro", zero_division=0)
    assert ours.macro_f1(confusion) == pytest.approx(wanted)
    table = ours.per_class(confusion, [str(i) for i in range(classes)])
    precision, recall, f1, support = reference.precision_recall_fscore_support(
        truth, answer, labels=range(classes), zero_division=np.nan
    )
    for index in range(classes):
        row = table[str(index)]
        assert row["support"] == support[index]
        for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
            assert row[name] == pytest.approx(values[index], nan_ok=True)


@given(answers())
@settings(max_examples=40, deadline=None)
def test_matrices_of_parts_add_up(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = case
    answer, classes, half = scores.argmax(1), scores.shape[1], len(truth) // 2
    parts = [ours.confusion_matrix(truth[s], answer[s], classes) for s in (slice(half), slice(half, None))]
    assert (parts[0] + parts[1] == ours.confusion_matrix(truth, answer, classes)).all()


@given(answers())
@settings(max_examples=40, deadline=None)
def test_pooled_curves_have_scikit_learns_areas(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, truth = case
    positive = np.arange(scores.shape[1]) == truth[:, None]
    points = ours.curve_points(scores, truth)
    x = np.concatenate([[0.0], points["false_positive_rate"]])
    y = np.concatenate([[0.0], points["true_positive_rate"]])
    assert np.trapezoid(y, x) == pytest.approx(reference.roc_auc_score(positive.ravel(), scores.ravel()))
    steps = np.diff(np.concatenate([[0.0], points["true_positive_rate"]]))
    average_precision = float((steps * points["precision"]).sum())
    assert average_precision == pytest.approx(reference.average_precision_score(positive.ravel(), scores.ravel()))


def test_a_classifier_that_means_what_it_says_has_no_calibration_error() -> None:
    scores = np.array([[0.75, 0.25]] * 4)
    assert ours.calibration_error(ours.reliability(scores, np.array([0, 0, 0, 1]))) == pytest.approx(0)
    assert ours.calibration_error(ours.reliability(scores, np.array([1, 1, 1, 1]))) == pytest.approx(0.75)


def test_full_confidence_falls_into_the_last_bin() -> None:
    rows = ours.reliability(np.array([[1.0, 0.0]]), np.array([0]))
    assert rows == [{"confidence": 1.0, "accuracy": 1.0, "share": 1.0}]


def test_the_baseline_is_the_majority_of_training() -> None:
    assert ours.majority_baseline(np.array([1, 1, 0]), np.array([1, 0, 0, 0])) == 0.25


def test_nothing_measured_is_not_a_number() -> None:
    empty = ours.confusion_matrix(np.array([], int), np.array([], int), 3)
    assert math.isnan(ours.accuracy(empty))
    assert math.isnan(ours.macro_f1(empty))


def test_thinned_points_keep_their_ends() -> None:
    rows = ours.thin({"x": np.linspace(0, 1, 1000)}, 11)
    assert len(rows) == 11
    assert (rows[0]["x"], rows[-1]["x"]) == (0.0, 1.0)
