"""`evaluate_faces`: the finetuned network and the heads on the same untouched test pictures, in one table.

Everything is made from an array of scores for each model: the metrics (rounded, so that they compare across
processors), the data of the plots, and the sheet of the most confident mistakes, which is where wrong labels and bad
crops show. Which head is the best was decided on validation; the test split only measures it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from visage.errors import DataError
from visage.faces.data import Split, face_preprocessing, load_classes, load_split
from visage.faces.head_model import best_head, load_heads, predict
from visage.features import encoders
from visage.features.table import FeatureTable, load_table
from visage.io.atomic import write_csv, write_json
from visage.metrics import classification as metrics_of
from visage.metrics.rounding import rounded
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training import checkpoint
from visage.training.plan import ordered_batches
from visage.vision.sheet import contact_sheet, write_sheet

BATCH = 64
WORST = 24
CURVE_POINTS = 200
COMPARED = ("accuracy", "macro_f1")


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


def evaluate(
    runtime: Runtime,
    *,
    size: int,
    seed: int,
    data: Path,
    model: Path,
    heads: Path,
    features: Path,
    metrics: Path,
    plots: Path,
) -> None:
    """Write the metrics of `model` (best_model.pth) and of the heads on the same test pictures, and the plots.

    heads, features: what `train_heads` and `extract_features` wrote; pictures without features are left out.
    plots: gets {comparison,confusion,roc,pr,reliability}.csv and worst.png, all but the first of `model`.

    Raises:
        DataError: there are no test pictures, or `model` or the heads are of other classes or features than the data.
    """
    device = torch_device(runtime, seed)
    classes, table = load_classes(data), load_table(features)
    network, saved = load_finetuned(model)
    if saved["classes"] != classes:
        raise DataError(f"{model} was trained on other classes than {data} has: run finetune_faces again")
    loaded = load_heads(heads, classes, table)
    test, rows = _shared(load_split(data, "test", classes), table, data)
    untested = sorted(set(classes) - {row["class"] for row in test.rows})
    if untested:
        names = ", ".join(untested[:6])
        print(f"warning: {len(untested)} of {len(classes)} classes have no test pictures, not measured: {names}")
    truth = np.array(test.labels)
    baseline = metrics_of.majority_baseline(np.array(load_split(data, "train", classes).labels), truth)
    with track("evaluate_faces", params={"size": size}) as tracker:
        scores = predict_scores(network, test, size, device)
        measured = {name: headline(predict(head, table, rows, device), truth) for name, (head, _) in loaded.items()}
        finetuned = headline(scores, truth) | {"baseline_accuracy": baseline}
        best = best_head({name: content for name, (_, content) in loaded.items()})
        confusion = metrics_of.confusion_matrix(truth, scores.argmax(1), len(classes))
        counts = {"test_samples": len(truth), "classes": len(classes), "best_head": best}
        compared = {"finetuned": finetuned, "heads": measured}
        write_json(metrics, rounded({**compared, **counts, "per_class": metrics_of.per_class(confusion, classes)}))
        tracker.summary(finetuned | {f"head_{name}": measured[best][name] for name in measured[best]})
    write_plots(plots, scores, truth, classes)
    models = measured | {"finetuned": finetuned}
    comparison = ({"model": name, **{key: round(models[name][key], 4) for key in COMPARED}} for name in models)
    write_csv(plots / "comparison.csv", comparison, ["model", *COMPARED])
    write_sheet(plots / "worst.png", worst_mistakes(test, scores, truth, classes))
    print(f"test: {len(truth)} pictures; always the most frequent class: accuracy {baseline:.4f}")
    print(comparison_table(models, best))


def _shared(test: Split, table: FeatureTable, data: Path) -> tuple[Split, np.ndarray]:
    """The test pictures that have features, and the row of each in `table`."""
    if not test.rows:
        raise DataError(
            f"{data} has no test pictures: a class is tested when it has pictures of at least two groups (sessions)"
        )
    row_of = {row["sample_id"]: number for number, row in enumerate(table.rows)}
    kept = [index for index, row in enumerate(test.rows) if row["sample_id"] in row_of]
    if not kept:
        raise DataError(f"no test picture of {data} has features: run extract_features again")
    if len(kept) < len(test.rows):
        print(f"warning: {len(test.rows) - len(kept)} of {len(test.rows)} test pictures have no features, left out")
    rows = [test.rows[index] for index in kept]
    split = Split(test.root, rows, [test.labels[index] for index in kept])
    return split, np.array([row_of[row["sample_id"]] for row in rows])


def headline(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """accuracy, macro_f1 and calibration_error of probabilities, N x classes."""
    confusion = metrics_of.confusion_matrix(truth, scores.argmax(1), scores.shape[1])
    return {
        "accuracy": metrics_of.accuracy(confusion),
        "macro_f1": metrics_of.macro_f1(confusion),
        "calibration_error": metrics_of.calibration_error(metrics_of.reliability(scores, truth)),
    }


def comparison_table(models: Mapping[str, Mapping[str, float]], best: str) -> str:
    """A line for each model under a header, the best head marked."""
    width = max(map(len, (*models, "model")))
    lines = [f"{'model':{width}}  accuracy  macro F1  calibration error"]
    for name, row in models.items():
        numbers = f"{row['accuracy']:8.4f}  {row['macro_f1']:8.4f}  {row['calibration_error']:17.4f}"
        lines.append(f"{name:{width}}  {numbers}{'  best head on validation' if name == best else ''}")
    return "\n".join(lines)


def write_plots(plots: Path, scores: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> None:
    """The data of the plots as CSV: confusion, roc, pr, reliability."""
    answers = scores.argmax(1)
    pairs = ({"actual": classes[t], "predicted": classes[a]} for t, a in zip(truth, answers, strict=True))
    write_csv(plots / "confusion.csv", pairs, ["actual", "predicted"])
    points = metrics_of.curve_points(scores, truth)
    roc = {name: points[name] for name in ("false_positive_rate", "true_positive_rate")}
    write_csv(plots / "roc.csv", metrics_of.thin(roc, CURVE_POINTS), list(roc))
    pr = {"recall": points["true_positive_rate"], "precision": points["precision"]}
    write_csv(plots / "pr.csv", metrics_of.thin(pr, CURVE_POINTS), list(pr))
    bins = metrics_of.reliability(scores, truth)
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
