"""`segment_zero_shot`: hair without training, on the pictures that no training sees, and what mending it adds.

Either MediaPipe's hair model or, where its file is absent, GrabCut seeded by a face's geometry. The two never share a
name in the metrics. What a method answers is kept as jobs; mending comes after it, so that trying other thresholds
computes no picture again, and is measured step by step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError
from visage.hair.config import ZeroShot
from visage.hair.prepared import HairSet, load_set
from visage.hair.zero_shot_work import CONFIDENCE, ZeroShotWork, choose_method, picture_item
from visage.io.atomic import atomic_path, write_csv, write_json
from visage.io.growing import GrowingArray
from visage.jobs.queue import Results, run_queue
from visage.metrics import segmentation as metrics_of
from visage.runtime import Runtime
from visage.tracking.tracker import track
from visage.vision.refine import fill_holes, guided_filter, hysteresis, keep_components
from visage.vision.sheet import contact_sheet, write_sheet

Map = NDArray[np.float32]

SPLITS = ("val", "test")
ROWS, METHOD, CONFIDENCES = "rows.csv", "method.json", "confidence.npy"
STEPS = ("raw", "hysteresis", "components", "holes", "guided")
PICTURES_PER_JOB = 16
HAIR = 1
# He, Sun and Tang's edge-aware value: an edge of 1 % of the range is kept.
GUIDED_EPS = 1e-4
SHOWN, TILE = 4, 160
TRUE_INK, SAID_INK = (80, 255, 80), (255, 60, 60)


@dataclass
class Counts:
    """Pixels of each picture by split and by step."""

    of: dict[str, dict[str, list[metrics_of.Overlap]]] = field(
        default_factory=lambda: {split: {step: [] for step in STEPS} for split in SPLITS}
    )

    def add(self, split: str, step: str, truth: NDArray[np.uint8], answer: NDArray[np.uint8]) -> None:
        """Count one picture's masks, H x W of {0, 1}."""
        self.of[split][step].append(metrics_of.overlap(truth[None], answer[None], 2))

    def numbers(self, split: str) -> dict[str, dict[str, float | str]]:
        """iou and f1 of all pixels together and picture_iou, the mean over pictures with hair, after each step."""
        table = {}
        for step, parts in self.of[split].items():
            counts = metrics_of.joined(parts)
            iou = float(metrics_of.pooled_iou(counts)[HAIR])
            picture = metrics_of.mean(metrics_of.picture_iou(counts, HAIR))
            numbers = {"iou": iou, "f1": 2 * iou / (1 + iou), "picture_iou": picture}
            table[step] = {
                name: round(value, 4) if np.isfinite(value) else "not measured" for name, value in numbers.items()
            }
        return table


def segment(
    settings: ZeroShot, runtime: Runtime, *, data: Path, out: Path, metrics: Path, plots: Path
) -> dict[str, Any]:
    """Segment the hair of the val and test pictures; killed at any moment, the same call goes on.

    Args:
        settings: the method and the mending.
        runtime: of the stage; its time limit counts.
        data: what prepare_hair wrote.
        out: gets confidence.npy (N x S x S uint8, 255 for surely hair, mended: hair from 128 on), rows.csv (which row
            of the prepared set each is) and method.json (the method, the model's checksum, the mending).
        metrics: a JSON file: "method", and under the method's own name the numbers of each split after each step.
        plots: gets samples.png.

    Returns:
        What `metrics` holds.

    Raises:
        ConfigError: a setting is out of range, or asks for a package that is not installed.
        MissingWeightsError: method "mediapipe" without its file.
        DataError: there is nothing to segment, or the model's file cannot be used.
        Unfinished: the time limit came first.
    """
    settings.check()
    hair = load_set(data)
    rows = [int(row) for split in SPLITS for row in hair.split(split)]
    if not rows:
        raise DataError(f"{data} has no val and no test pictures: give hair.prepare.test a larger share")
    method, model_sha256 = choose_method(settings)
    work = ZeroShotWork(method, model_sha256, str(Path(settings.model_file).absolute()), data.absolute())
    written: dict[str, Any] = {}
    with track(work.name, params={"zero_shot": settings, "runtime": runtime.results()}) as tracker:
        run_queue(
            work,
            [picture_item(hair, row) for row in rows],
            PICTURES_PER_JOB,
            max_minutes=runtime.max_minutes,
            use=lambda results: written.update(write_results(results, hair, rows, settings, out, plots)),
        )
        shown = written.get("test") or written["val"]
        measured = {f"{method}_{name}": value for name, value in shown["guided"].items() if not isinstance(value, str)}
        tracker.summary(measured)
    mending = {name: getattr(settings, name) for name in ("low", "high", "min_part", "fill_holes", "guided")}
    described = {"method": method, "model_sha256": model_sha256}
    write_json(out / METHOD, {**described, "postprocessing": mending})
    report = {**described, method: written}
    write_json(metrics, report)
    print(f"segment_zero_shot: {method} on {len(rows)} pictures (val and test)")
    for step, numbers in shown.items():
        print(f"  {step:10}  " + "  ".join(f"{name} {value}" for name, value in numbers.items()))
    return report


def write_results(
    results: Results, hair: HairSet, rows: list[int], settings: ZeroShot, out: Path, plots: Path
) -> dict[str, Any]:
    """Mend and measure every answer, and write all but the metrics; returns the numbers of each split."""
    out.mkdir(parents=True, exist_ok=True)
    counts = Counts()
    with atomic_path(out / CONFIDENCES) as tmp, GrowingArray(tmp, (hair.size, hair.size), np.uint8) as array:
        for row, raw in zip(rows, answers(results), strict=True):
            inside, whole = hair.inside(row), np.zeros((hair.size, hair.size), np.uint8)
            picture = np.array(hair.images[row][inside])
            truth, split = hair.mask(row)[inside], hair.rows[row]["split"]
            for step, confidence in mend((raw[inside] / 255).astype(np.float32), picture, settings).items():
                whole[inside] = np.rint(confidence * 255)
                counts.add(split, step, truth, (whole[inside] >= 128).astype(np.uint8))
            array.append(whole)
    columns = ("row", "sample_id", "split")
    write_csv(out / ROWS, ({name: hair.rows[row][name] for name in columns} for row in rows), columns)
    draw_samples(hair, rows, np.load(out / CONFIDENCES, mmap_mode="r"), plots / "samples.png")
    numbers = {split: counts.numbers(split) for split in SPLITS if len(hair.split(split))}
    return {**numbers, "pictures": {split: len(hair.split(split)) for split in SPLITS}}


def answers(results: Results) -> Iterator[NDArray[np.uint8]]:
    """Every picture's confidence as the method gave it, S x S uint8, in order."""
    for _, outcome in results.read():
        yield from outcome.arrays[CONFIDENCE]


def mend(confidence: Map, image: NDArray[np.uint8], settings: ZeroShot) -> Mapping[str, Map]:
    """The confidence after each of `STEPS`, all H x W float32 from 0 to 1; hair is what has at least 0.5.

    A pixel that a step takes in has 0.5 where it was doubtful and 1 in a hole; one that it drops has 0.

    Args:
        confidence: H x W, as the method gave it.
        image: H x W x 3 uint8 RGB.
        settings: thresholds; `guided` 0 leaves the last step out, which then equals the one before it.
    """
    found: dict[str, Map] = {"raw": confidence}
    mask = hysteresis(confidence, settings.low, settings.high)
    found["hysteresis"] = agreeing(confidence, mask, 0.5)
    mask = keep_components(mask, settings.min_part)
    found["components"] = agreeing(found["hysteresis"], mask, 0.5)
    mask = fill_holes(mask, settings.fill_holes)
    found["holes"] = agreeing(found["components"], mask, 1.0)
    found["guided"] = found["holes"]
    if settings.guided:
        smooth = guided_filter(image, found["holes"], settings.guided, GUIDED_EPS).clip(0, 1)
        # An edge moves by no more than the filter is wide: what is far from the mask stays as it is.
        reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * settings.guided + 1,) * 2)
        near = cv2.dilate(mask, reach) != cv2.erode(mask, reach)
        found["guided"] = np.where(near, smooth, found["holes"])
    return found


def agreeing(confidence: Map, mask: NDArray[np.uint8], taken: float) -> Map:
    """`confidence` where it is on the mask's side of 0.5; elsewhere `taken` in the mask and 0 outside it."""
    said = confidence >= 0.5
    return np.where(said == (mask == 1), confidence, np.where(mask == 1, taken, 0)).astype(np.float32)


def draw_samples(hair: HairSet, rows: list[int], confidences: NDArray[np.uint8], path: Path) -> None:
    """A row each of the best, the median and the worst answers: truth in green, answer in red."""
    there = [place for place, row in enumerate(rows) if hair.mask(row).any()]
    scores = np.array([picture_iou(hair.mask(rows[place]), confidences[place] >= 128) for place in there])
    order = np.argsort(-scores, kind="stable")
    middle = max(0, (len(order) - SHOWN) // 2)
    tiles = []
    for word, chosen in (("good", order[:SHOWN]), ("median", order[middle:][:SHOWN]), ("worst", order[-SHOWN:])):
        for index in chosen:
            place = there[index]
            picture = np.array(hair.images[rows[place]])
            answer = (confidences[place] >= 128).astype(np.uint8)
            for mask, ink in ((hair.mask(rows[place]), TRUE_INK), (answer, SAID_INK)):
                outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(picture, outlines, -1, ink, 1)
            tiles.append((picture, f"{word}: IoU {scores[index]:.2f}"))
    write_sheet(path, contact_sheet(tiles, SHOWN, TILE))


def picture_iou(truth: NDArray, answer: NDArray) -> float:
    """IoU of two masks, of which the first is not empty."""
    return np.count_nonzero((truth != 0) & answer) / np.count_nonzero((truth != 0) | answer)
