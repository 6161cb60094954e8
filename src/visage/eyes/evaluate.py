"""`evaluate_eyes`: segmenters and the regression network on the subjects that no training has seen, in one table.

Each answers a frame with a mask and an ellipse - a segmenter's ellipse is its mask's, the regression's mask is its
drawn ellipse - so that all are measured alike, and beside always answering the training frames' mean. Everything is in
pixels of a whole frame, 400 x 640, whatever size the frames were prepared at.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from visage.errors import DataError
from visage.eyes.data import eye_preprocessing
from visage.eyes.losses import pupil_score
from visage.eyes.maps import in_pixels, moments_ellipse, resized
from visage.eyes.networks import FRAME, KINDS, AtFullSize, at_size, count_macs, load_network
from visage.eyes.prepared import EyeSet, load_set
from visage.io.atomic import write_csv, write_json
from visage.metrics import segmentation as metrics_of
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training.freeze import count_parameters
from visage.vision.ellipse import Ellipse, largest_component, render_ellipse
from visage.vision.normalise import normalise
from visage.vision.sheet import contact_sheet, write_sheet

BATCH = 16
PUPIL = 1
# A closed eye answered with more pixels than this, of a whole frame, is a false alarm: a disc of radius 6.
ALARM_PX = 100
COMPARED = ("pupil_iou", "picture_iou", "centre_px", "centre_px_median", "within_5px", "blink_false_alarms")
# Steps of the histogram of centre errors, and its last bin's end, in pixels.
BIN_PX, LAST_PX = 0.5, 20.0
SHOWN, TILE = 4, 240
TRUE_INK, SAID_INK = (80, 255, 80), (255, 60, 60)

Numbers = NDArray[np.float64]
# Rows of the prepared eyes -> masks, B x H x W uint8 of {0, 1}, and ellipses (cx, cy, rx, ry), B x 4 in pixels of the
# prepared frame, not a number where no pupil was found.
Answers = Callable[[NDArray[np.intp]], tuple[NDArray[np.uint8], Numbers]]


@dataclass(frozen=True)
class Measured:
    """numbers: the metrics. Of the open eyes, in order: their rows, the IoU of each, and the centre errors in pixels of
    a whole frame."""

    numbers: dict[str, float]
    rows: NDArray[np.intp]
    iou: Numbers
    errors: Numbers


def evaluate(
    runtime: Runtime, *, seed: int, data: Path, models: Mapping[str, Path], metrics: Path, plots: Path
) -> None:
    """Write the metrics of each of `models` on the test frames (a mapping for each, and "baseline"), and the plots.

    data: what prepare_eyes wrote. models: the folders of checkpoints by kind of network ("tiny", "micro", "ellipse").
    plots: gets comparison.csv, errors.csv (a histogram of centre errors) and a sheet <model>.png of good, median and
    bad answers.

    Raises:
        DataError: there are no test frames, or a checkpoint is missing or was trained on frames of another size.
    """
    device = torch_device(runtime, seed)
    eyes = load_set(data)
    rows = eyes.split("test")
    if not len(rows):
        raise DataError(f"{data} has no test frames: give eyes.prepare.test a larger share")
    cores = {name: load_core(folder, name, eyes)[0] for name, folder in models.items()}
    costs = {name: cost(core) for name, core in cores.items()}
    answers = {name: network_answers(eyes, core, device) for name, core in cores.items()}
    answers["baseline"] = mean_answers(eyes)
    with track("evaluate_eyes", params={"data": data.name, "models": sorted(models)}) as tracker:
        measured = {name: measure(eyes, rows, answer) for name, answer in answers.items()}
        tracker.summary({f"{name}_pupil_iou": measured[name].numbers["pupil_iou"] for name in models})
    table = {name: rounded(found.numbers | costs.get(name, {})) for name, found in measured.items()}
    closed = sum(eyes.rows[row]["empty"] == "1" for row in rows)
    subjects = len({eyes.rows[row]["source"] for row in rows})
    counts = {"test_frames": len(rows), "test_closed": closed, "test_subjects": subjects}
    write_json(metrics, {**table, **counts})
    comparison = ({"model": name, **{key: row[key] for key in COMPARED}} for name, row in table.items())
    write_csv(plots / "comparison.csv", comparison, ["model", *COMPARED])
    bins = [row for name, found in measured.items() for row in histogram(name, found.errors)]
    write_csv(plots / "errors.csv", bins, ["model", "centre_px", "share", "within"])
    for name in models:
        write_sheet(plots / f"{name}.png", answers_sheet(eyes, measured[name], answers[name]))
    print(f"test: {len(rows)} frames of {subjects} subjects, {closed} of them closed")
    print(comparison_table(table))


def load_core(folder: Path, name: str, eyes: EyeSet) -> tuple[nn.Module, dict[str, Any]]:
    """The best network of kind `name` in a trainer's folder, for frames of half size, in evaluation mode, and its
    checkpoint.

    Raises:
        DataError: the checkpoint is missing, or was trained on frames of another size than those of `eyes`.
    """
    network, saved = load_network(folder / f"best_{KINDS[name].file}.pt")
    trained, here = (saved["height"], saved["width"]), (eyes.height, eyes.width)
    if saved["kind"] != name or trained != here:
        found = f"{saved['kind']} trained on frames of {trained[0]} x {trained[1]}"
        raise DataError(f"{folder}: {found}, wanted {name} on {here[0]} x {here[1]}: train again")
    return network, saved


def cost(core: nn.Module) -> dict[str, float]:
    """parameters, and gmacs of a whole frame."""
    return {"parameters": count_parameters(core)[0], "gmacs": count_macs(AtFullSize(core), *FRAME) / 1e9}


def network_answers(eyes: EyeSet, core: nn.Module, device: torch.device) -> Answers:
    """What the network, made for frames of half size, answers: a map of logits or an ellipse."""
    network = at_size(core, eyes.height, eyes.width).to(device)
    preprocessing = eye_preprocessing(eyes.height, eyes.width)

    @torch.inference_mode()
    def answer(rows: NDArray[np.intp]) -> tuple[NDArray[np.uint8], Numbers]:
        images = np.stack([normalise(np.array(eyes.images[row]), preprocessing) for row in rows])
        out = network(torch.from_numpy(images).to(device))
        if out.ndim == 2:
            return drawn(eyes, out.double().cpu().numpy())
        # An eye has one pupil, and serving answers with one part too.
        masks = np.stack([largest_component(mask) for mask in (pupil_score(out) > 0).cpu().numpy()])
        return masks, np.array([moments_ellipse(mask) for mask in masks])

    return answer


def mean_answers(eyes: EyeSet) -> Answers:
    """Always the mean ellipse of the training frames.

    Raises:
        DataError: there is no open eye among them.
    """
    train = eyes.ellipses[eyes.split("train")].astype(np.float64)
    known = train[np.isfinite(train).all(1)]
    if not len(known):
        raise DataError("no training frame shows a pupil, there is no mean to compare with: prepare the eyes again")
    return lambda rows: drawn(eyes, np.repeat(known.mean(0)[None], len(rows), axis=0))


def drawn(eyes: EyeSet, ellipses: Numbers) -> tuple[NDArray[np.uint8], Numbers]:
    """Masks and pixels of normalised ellipses, B x 4."""
    shape = eyes.height, eyes.width
    pixels = np.array([in_pixels((cx, cy, rx, ry), shape) for cx, cy, rx, ry in ellipses])
    return np.stack([render_ellipse(Ellipse(*numbers), *shape) for numbers in pixels]), pixels


def measure(eyes: EyeSet, rows: NDArray[np.intp], answer: Answers) -> Measured:
    """Measure the answers to `rows`."""
    shape = eyes.height, eyes.width
    counts: list[metrics_of.Overlap] = []
    said: list[Numbers] = []
    for batch in np.split(rows, range(BATCH, len(rows), BATCH)):
        masks, ellipses = answer(batch)
        counts.append(metrics_of.overlap(np.stack([eyes.label(row) for row in batch]), masks, 2))
        said.append(ellipses)
    true = [in_pixels((cx, cy, rx, ry), shape) for cx, cy, rx, ry in eyes.ellipses[rows].astype(np.float64)]
    return reduce(rows, metrics_of.joined(counts), whole(np.array(true), shape), whole(np.concatenate(said), shape))


def whole(ellipses: Numbers, shape: tuple[int, int]) -> Numbers:
    """Ellipses in pixels of frames of `shape`, N x 4, in pixels of a whole one."""
    return np.array([resized((cx, cy, rx, ry), shape, FRAME) for cx, cy, rx, ry in ellipses])


def reduce(rows: NDArray[np.intp], counts: metrics_of.Overlap, true: Numbers, said: Numbers) -> Measured:
    """The metrics of pixel counts and of ellipses in pixels of a whole frame, N x 4."""
    background, pupil = metrics_of.pooled_iou(counts)
    each = metrics_of.picture_iou(counts, PUPIL)
    errors = metrics_of.centre_errors(true[:, :2], said[:, :2])
    frame = int(counts.truth[0].sum())
    numbers = {
        "miou": metrics_of.mean_iou(counts),
        "background_iou": float(background),
        "pupil_iou": float(pupil),
        "picture_iou": metrics_of.mean(each),
        "picture_iou_median": metrics_of.median(each),
        **metrics_of.centre_report(errors),
        "radius_px": metrics_of.radius_error(true[:, 2:], said[:, 2:]),
        "blink_false_alarms": metrics_of.false_alarms(counts, PUPIL, ALARM_PX * frame / math.prod(FRAME)),
    }
    return Measured(numbers, rows[counts.truth[:, PUPIL] > 0], each, errors)


def histogram(name: str, errors: Numbers) -> list[dict[str, str | float]]:
    """Rows of bins: centre_px (where the bin ends; the last holds all beyond), share in it, share up to there."""
    if not len(errors):
        return []
    ends = np.arange(1, round(LAST_PX / BIN_PX) + 1) * BIN_PX
    within = np.array([(errors <= end).mean() for end in ends[:-1]] + [1.0])
    columns = ends, np.diff(within, prepend=0.0), within
    return [
        {"model": name, "centre_px": float(end), "share": round(float(share), 4), "within": round(float(total), 4)}
        for end, share, total in zip(*columns, strict=True)
    ]


def answers_sheet(eyes: EyeSet, measured: Measured, answer: Answers) -> NDArray[np.uint8]:
    """A row each of the best, the median and the worst answers to open eyes: truth in green, answer in red."""
    order = np.argsort(-measured.iou, kind="stable")
    middle = max(0, (len(order) - SHOWN) // 2)
    tiles = []
    for word, chosen in (("good", order[:SHOWN]), ("median", order[middle:][:SHOWN]), ("worst", order[-SHOWN:])):
        for index in chosen:
            row = measured.rows[index]
            picture = cv2.cvtColor(np.array(eyes.images[row]), cv2.COLOR_GRAY2RGB)
            for mask, ink in ((eyes.label(row), TRUE_INK), (answer(np.array([row]))[0][0], SAID_INK)):
                outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(picture, outlines, -1, ink, 1)
            error = f"{measured.errors[index]:.1f} px" if math.isfinite(measured.errors[index]) else "none found"
            tiles.append((picture, f"{word}: IoU {measured.iou[index]:.2f}, centre {error}"))
    return contact_sheet(tiles, SHOWN, TILE)


def comparison_table(table: Mapping[str, Mapping[str, float | str]]) -> str:
    """A line for each model under a header."""
    columns = {
        "pupil_iou": "pupil IoU", "picture_iou": "per picture", "centre_px": "centre px",
        "centre_px_median": "median px", "within_5px": "within 5", "parameters": "parameters", "gmacs": "GMAC",
    }  # fmt: skip
    lines = [f"{'model':8}" + "".join(f"  {head:>12}" for head in columns.values())]
    for name, row in table.items():
        lines.append(f"{name:8}" + "".join(f"  {row.get(key, '-'):>12}" for key in columns))
    return "\n".join(lines)


def rounded(numbers: Mapping[str, float], digits: int = 4) -> dict[str, float | str]:
    """Every number rounded; "not measured" for one that is not finite."""
    return {name: round(value, digits) if math.isfinite(value) else "not measured" for name, value in numbers.items()}
