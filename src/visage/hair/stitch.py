"""`stitch_masks`: masks of the test pictures' originals, whatever their size, measured for IoU and for seams.

A seam would be a jump of the coverage where a patch begins or ends. The network's own grid has steps too, so what they
are compared with is the places of the same phase nearby, one coarsest stride to either side.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError
from visage.hair.config import Patches
from visage.hair.patch_encoder import STRIDES
from visage.hair.patch_head import CHECKPOINT
from visage.hair.patch_segmenter import open_segmenter
from visage.hair.prepared import HairSet, load_set
from visage.io.atomic import write_bytes, write_csv, write_json
from visage.io.images import encode_png, read_image
from visage.io.names import file_names
from visage.metrics import segmentation as metrics_of
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.vision.patches import starts
from visage.vision.resize import resize
from visage.vision.sheet import contact_sheet, write_sheet

INDEX, COLUMNS = "stitched.csv", ("sample_id", "source", "mask", "iou")
SAMPLES, SAMPLE_PX = 24, 192
SHEET, SHEET_COLUMNS, TILE = 6, 3, 160
INK = np.array((255, 40, 90))

Pixels = NDArray[np.uint8]


@dataclass
class Seams:
    """Steps of coverage between neighbouring pixels: sums and numbers, near the borders of patches and at them."""

    steps: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))

    def add(self, whole: Pixels, size: int, overlap: int) -> None:
        """Count the steps of a stitched picture's coverage, H x W uint8."""
        for flat in (whole, whole.T):
            width = flat.shape[1]
            begins = starts(width, size, overlap)
            edges = {edge for begin in begins for edge in (begin, begin + size) if 0 < edge < width}
            near = {edge + way for edge in edges for way in (-STRIDES[-1], STRIDES[-1])} - edges
            near = {edge for edge in near if 0 < edge < width}
            for index, columns in enumerate((sorted(near), sorted(edges))):
                if columns:
                    after, before = np.array(columns), np.array(columns) - 1
                    step = np.abs(flat[:, after].astype(np.int16) - flat[:, before])
                    self.steps[index] += step.sum()
                    self.counts[index] += step.size

    def report(self) -> dict[str, float]:
        """seam_step, near_step: mean steps in [0, 1] at the borders of patches and near them; nan without any."""
        near, seam = (np.divide(self.steps, self.counts, np.full(2, np.nan), where=self.counts > 0) / 255).tolist()
        return {"seam_step": seam, "near_step": near}


def stitch_masks(
    settings: Patches,
    runtime: Runtime,
    *,
    seed: int,
    data: Path,
    root: Path,
    pretrained: Path,
    head: Path,
    out: Path,
    metrics: Path,
    plots: Path,
) -> None:
    """Write the masks of the test pictures' originals (0 and 255, PNG) and stitched.csv into `out`, and the metrics.

    data: what prepare_hair wrote. root: the folder that the originals' names are relative to. head: the folder of
    train_patch_head. plots: gets up to 24 small masks and sheets of overlays. The truth is the prepared coverage, as
    fine as that is (see `visage.hair.patch_task`).

    Raises:
        DataError: there are no test pictures, or no encoder or head for such patches.
        BadImageError: an original cannot be read any more.
    """
    device = torch_device(runtime, seed)
    hair = load_set(data)
    rows = hair.split("test")
    if not len(rows):
        raise DataError(f"{data} has no test pictures: give hair.prepare.test a larger share")
    segmenter = open_segmenter(settings, pretrained, head / CHECKPOINT, device)
    sample_ids = [hair.rows[row]["sample_id"] for row in rows]
    names = file_names(sample_ids, [""] * len(rows))
    # Spread over the sources: neighbours are views of one person.
    shown = set(np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).round().astype(int).tolist())
    seams = Seams()
    counts: list[metrics_of.Overlap] = []
    found: list[dict[str, Any]] = []
    tiles: list[tuple[Pixels, str]] = []
    with track("stitch_masks", params={"patches": settings, "data": data.name}) as tracker:
        for place, (row, name) in enumerate(zip(rows, names, strict=True)):
            image = read_original(hair, int(row), root)
            whole = segmenter.coverage(image)
            mask = (whole >= 128).astype(np.uint8)
            write_bytes(out / f"{name}.png", encode_png(mask * np.uint8(255)))
            counts.append(metrics_of.overlap(true_mask(hair, int(row))[None], mask[None], 2))
            seams.add(whole, settings.size, settings.overlap)
            iou = metrics_of.pooled_iou(counts[-1])[1]
            source = hair.rows[row]["source"]
            found.append(
                {"sample_id": sample_ids[place], "source": source, "mask": f"{name}.png", "iou": round(iou, 4)}
            )
            if place in shown:
                number = len(tiles)
                write_bytes(plots / f"mask_{number:02d}.png", encode_png(small(mask * np.uint8(255), SAMPLE_PX)))
                tiles.append((overlay(image, whole, 2 * TILE), f"{number:02d}: IoU {iou:.2f}"))
        measured = report(metrics_of.joined(counts), seams)
        tracker.summary(measured)
    for start in range(0, len(tiles), SHEET):
        sheet = contact_sheet(tiles[start : start + SHEET], SHEET_COLUMNS, TILE)
        write_sheet(plots / f"overlays_{start // SHEET + 1}.png", sheet)
    write_csv(out / INDEX, found, COLUMNS)
    people = len({hair.rows[row]["source"] for row in rows})
    write_json(metrics, {**measured, "pictures": len(rows), "sources": people})
    print(f"stitched: {len(rows)} pictures of {people} sources, hair IoU {measured['iou']}")


def read_original(hair: HairSet, row: int, root: Path) -> Pixels:
    """The original of prepared picture `row`, H x W x 3 uint8 RGB.

    Raises:
        BadImageError: it cannot be read.
        DataError: it has another size than when it was prepared.
    """
    facts = hair.rows[row]
    image = read_image(root / facts["file"])
    if image.shape[:2] != (int(facts["file_height"]), int(facts["file_width"])):
        raise DataError(f"{root / facts['file']} has another size than when it was prepared: run prepare_hair again")
    return image


def true_mask(hair: HairSet, row: int) -> Pixels:
    """The prepared coverage in the original's frame, at least a half: H x W uint8 of {0, 1}."""
    facts = hair.rows[row]
    alpha = np.ascontiguousarray(hair.alphas[row][hair.inside(row)])
    return (resize(alpha, int(facts["file_width"]), int(facts["file_height"])) >= 128).astype(np.uint8)


def report(counts: metrics_of.Overlap, seams: Seams) -> dict[str, float | str]:
    """The metrics: IoU of hair over all pixels and as the mean over pictures that have some, and the seams."""
    each = metrics_of.picture_iou(counts, 1)
    numbers = {
        "iou": float(metrics_of.pooled_iou(counts)[1]),
        "picture_iou": metrics_of.mean(each),
        "picture_iou_median": metrics_of.median(each),
        **seams.report(),
    }
    return {name: round(value, 5) if np.isfinite(value) else "not measured" for name, value in numbers.items()}


def small(image: Pixels, longest: int) -> Pixels:
    """The picture with its longer side shrunk to `longest` pixels, or as it is."""
    scale = min(1.0, longest / max(image.shape[:2]))
    return resize(image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))


def overlay(image: Pixels, whole: Pixels, longest: int) -> Pixels:
    """A small picture, half painted where its coverage (H x W uint8) says hair."""
    picture, share = small(image, longest), small(whole, longest)[:, :, None] / 510.0
    return np.rint(picture * (1 - share) + INK * share).astype(np.uint8)
