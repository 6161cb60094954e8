"""`evaluate_faces`: the classifier on the untouched test split, beside the trivial baseline.

Everything is made from one array of scores: the metrics (rounded, so that they compare across processors), the data of
the plots, and the sheet of the most confident mistakes, which is where wrong labels and bad crops show.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from visage.errors import DataError
from visage.faces.data import Split, face_preprocessing, load_classes, load_split
from visage.features import encoders
from visage.io.atomic import write_csv, write_json
from visage.metrics import classification as metrics_of
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training import checkpoint
from visage.training.plan import ordered_batches
from visage.vision.sheet import contact_sheet, write_sheet

BATCH = 64
WORST = 24
CURVE_POINTS = 200


def load_finetuned(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint of `finetune_faces` in evaluation mode, and the checkpoint."""
    saved = checkpoint.load(path)
    model = encoders.build(saved["config"]["arch"], len(saved["classes"]))
    model.load_state_dict(saved["model"])
    return model.eval(), saved


@torch.inference_mode()
def predict_scores(model: nn.Module, split: Split, size: int, device: torch.device) -> np.ndarray:
    """Probabilities of every picture of `split`: N x classes float64."""
    samples = split.samples(face_preprocessing(size))
    model = model.to(device)
    scores = []
    for indices in ordered_batches(len(samples), BATCH):
        images = torch.stack([torch.from_numpy(samples[(0, int(index))][0]) for index in indices])
        scores.append(model(images.to(device)).double().softmax(1).cpu().numpy())
    return np.concatenate(scores)


def evaluate(runtime: Runtime, *, size: int, seed: int, data: Path, model: Path, metrics: Path, plots: Path) -> None:
    """Write the metrics of `model` (best_model.pth) on the test split, and plots/{confusion,roc,pr,reliability,worst}.

    Raises:
        DataError: there are no test pictures, or the model knows other classes than the data.
    """
    device = torch_device(runtime, seed)
    classes = load_classes(data)
    network, saved = load_finetuned(model)
    if saved["classes"] != classes:
        raise DataError(f"{model} was trained on other classes than {data} has: run finetune_faces again")
    test, train = load_split(data, "test", classes), load_split(data, "train", classes)
    if not test.rows:
        raise DataError(
            f"{data} has no test pictures: a class is tested when it has pictures of at least two groups (sessions)"
        )
    untested = sorted(set(classes) - {row["class"] for row in test.rows})
    if untested:
        names = ", ".join(untested[:6])
        print(f"warning: {len(untested)} of {len(classes)} classes have no test pictures, not measured: {names}")
    with track("evaluate_faces", params={"size": size}) as tracker:
        scores = predict_scores(network, test, size, device)
        truth = np.array(test.labels)
        confusion = metrics_of.confusion_matrix(truth, scores.argmax(1), len(classes))
        bins = metrics_of.reliability(scores, truth)
        baseline = metrics_of.majority_baseline(np.array(train.labels), truth)
        headline = {
            "accuracy": metrics_of.accuracy(confusion),
            "macro_f1": metrics_of.macro_f1(confusion),
            "calibration_error": metrics_of.calibration_error(bins),
            "baseline_accuracy": baseline,
        }
        table = metrics_of.per_class(confusion, classes)
        counts = {"test_samples": len(truth), "classes": len(classes)}
        write_json(metrics, rounded({"finetuned": headline, **counts, "per_class": table}))
        tracker.summary(headline)
    write_plots(plots, scores, truth, classes, bins)
    write_sheet(plots / "worst.png", worst_mistakes(test, scores, truth, classes))
    print(
        f"test: accuracy {headline['accuracy']:.4f} (always the most frequent class: {baseline:.4f}), "
        f"macro F1 {headline['macro_f1']:.4f}, calibration error {headline['calibration_error']:.4f}, "
        f"{len(truth)} pictures"
    )


def write_plots(
    plots: Path, scores: np.ndarray, truth: np.ndarray, classes: Sequence[str], bins: list[dict[str, float]]
) -> None:
    """The data of the plots as CSV: confusion, roc, pr, reliability."""
    answers = scores.argmax(1)
    pairs = ({"actual": classes[t], "predicted": classes[a]} for t, a in zip(truth, answers, strict=True))
    write_csv(plots / "confusion.csv", pairs, ["actual", "predicted"])
    points = metrics_of.curve_points(scores, truth)
    roc = {name: points[name] for name in ("false_positive_rate", "true_positive_rate")}
    write_csv(plots / "roc.csv", metrics_of.thin(roc, CURVE_POINTS), list(roc))
    pr = {"recall": points["true_positive_rate"], "precision": points["precision"]}
    write_csv(plots / "pr.csv", metrics_of.thin(pr, CURVE_POINTS), list(pr))
    columns = ["confidence", "accuracy", "share"]
    write_csv(plots / "reliability.csv", ({name: round(row[name], 6) for name in columns} for row in bins), columns)


def worst_mistakes(test: Split, scores: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """A sheet of the wrong answers given with most confidence, or, without any, of the right ones given with least."""
    answers = scores.argmax(1)
    wrong = answers != truth
    pool = np.flatnonzero(wrong) if wrong.any() else np.arange(len(truth))
    doubt = -scores[np.arange(len(truth)), answers] if wrong.any() else scores[np.arange(len(truth)), truth]
    order = pool[np.argsort(doubt[pool], kind="stable")][:WORST]
    tiles = []
    for index in order:
        said = f"{classes[answers[index]]} {scores[index, answers[index]]:.2f}"
        tiles.append((test.read(index), f"{said}, is {classes[truth[index]]}" if wrong[index] else said))
    return contact_sheet(tiles, columns=6, tile=150)


def rounded(value: Any, digits: int = 4) -> Any:
    """`value` with every float rounded, and "not measured" for what is not a number."""
    if isinstance(value, dict):
        return {name: rounded(inner, digits) for name, inner in value.items()}
    if isinstance(value, float):
        return "not measured" if math.isnan(value) else round(value, digits)
    return value
