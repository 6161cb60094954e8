"""`evaluate_eyes`: segmenters and the regression network on the subjects that no training has seen, in one table.

Each answers a frame with a mask and an ellipse - a segmenter's ellipse is its mask's, the regression's mask is its
drawn ellipse - so that all are measured alike, and beside always answering the training frames' mean. Everything is in
pixels of a whole frame, 400 x 640, whatever size the frames were prepared at.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from visage.errors import DataError
from visage.export.card import ModelCard
from visage.export.to_onnx import onnx_bytes
from visage.eyes.data import eye_preprocessing
from visage.eyes.losses import pupil_score
from visage.eyes.maps import in_pixels, moments_ellipse
from visage.eyes.measure import Answers, Numbers, measure
from visage.eyes.networks import FRAME, AtFullSize, at_size, count_macs, history_file, load_trained
from visage.eyes.plots import answers_sheet, comparison_table, histogram, losses
from visage.eyes.prepared import EyeSet, load_set
from visage.io.atomic import write_csv, write_json
from visage.metrics.rounding import rounded
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training.freeze import count_parameters
from visage.vision.ellipse import Ellipse, render_ellipse, surest_part
from visage.vision.normalise import normalise
from visage.vision.sheet import write_sheet

COMPARED = ("pupil_iou", "picture_iou", "centre_px", "centre_px_median", "within_5px", "blink_false_alarms")


def evaluate(
    runtime: Runtime, *, seed: int, data: Path, models: Mapping[str, Path], metrics: Path, plots: Path
) -> None:
    """Write the metrics of each of `models` on the test frames (a mapping for each, and "baseline"), and the plots.

    data: what prepare_eyes wrote. models: the folders of checkpoints by kind of network ("tiny", "micro", "shallow",
    "ellipse"). plots: gets comparison.csv, errors.csv (a histogram of centre errors), losses.csv (total and components
    by epoch) and in sheets/ a picture <model>.png of good, median and bad answers.

    Raises:
        DataError: there are no test frames, or a checkpoint or a history is missing, or of frames of another size.
    """
    device = torch_device(runtime, seed)
    eyes = load_set(data)
    rows = eyes.split("test")
    if not len(rows):
        raise DataError(f"{data} has no test frames: give eyes.prepare.test a larger share")
    cores = {name: load_trained(folder, name, (eyes.height, eyes.width))[0] for name, folder in models.items()}
    fallen = [row for name, folder in models.items() for row in losses(name, folder / history_file(name))]
    costs = {name: cost(core, torch.zeros(1, 1, *FRAME)) for name, core in cores.items()}
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
    write_csv(plots / "losses.csv", fallen, list(fallen[0]))
    for name in models:
        write_sheet(plots / "sheets" / f"{name}.png", answers_sheet(eyes, measured[name], answers[name]))
    print(f"test: {len(rows)} frames of {subjects} subjects, {closed} of them closed")
    print(comparison_table(table))


def cost(core: nn.Module, example: Tensor) -> dict[str, float]:
    """parameters; gmacs of a whole frame; onnx_kb, thousands of bytes of graph and weights in one file.

    example: (1, 1, 400, 640) float32.
    """
    network = AtFullSize(core).eval()
    card = ModelCard("", "", eye_preprocessing(*FRAME), [], {}, {}, "")
    return {
        "parameters": count_parameters(core)[0],
        "gmacs": count_macs(network, *FRAME) / 1e9,
        "onnx_kb": round(len(onnx_bytes(network, card, example, dynamic_size=False)) / 1000),
    }


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
        masks = np.stack([surest_part(score) for score in pupil_score(out).cpu().numpy()])
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
