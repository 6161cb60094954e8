"""From any data set of eyes to memory-mapped arrays: read, resize, compute the maps, split by whose eye it is.

Grey levels stay as they were recorded. Published code applies gamma and CLAHE first, but an exported model gets raw
pictures and knows no such step, so training must not have it either.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from visage.errors import DataError
from visage.eyes.config import FORMATS, EyesData, PrepareEyes
from visage.eyes.convert import Converted, convert
from visage.eyes.prepared import (
    DISTANCE,
    ELLIPSES,
    IMAGES,
    INDEX,
    INDEX_COLUMNS,
    LABELS,
    META,
    QUARANTINE,
    WEIGHTS,
    EyeSet,
    load_set,
)
from visage.io.atomic import sha256_bytes, write_csv, write_json, write_jsonl
from visage.io.eye_folders import read_pairs, read_sequences
from visage.io.eye_frames import HEIGHT, WIDTH, EyeFrame, Rejected
from visage.io.eye_parquet import read_parquet
from visage.io.growing import GrowingArray
from visage.io.intake import check_splits, check_usable, count_reasons, in_order
from visage.io.splits import SPLITS, split_groups
from visage.runtime import check_choice, worker_count
from visage.vision.sheet import contact_sheet, write_sheet

SHOWN, TILE = 6, 150  # frames of a split on the sheet, pixels a side
# What a source is, for those who read meta.json: a person only where the data set says whose eye it is.
SOURCES = {
    "parquet": "column source; else the folder in filename; else filename less its last number",
    "sequences": "the folder S_*",
    "folder": "the first folder below images/; else the name before its first _",
}


def prepare(
    data: EyesData, settings: PrepareEyes, *, seed: int, out: Path, metrics: Path, plots: Path
) -> dict[str, Any]:
    """Prepare one data set; a second run, with any number of threads, writes the same bytes.

    Args:
        data: where the frames are, and in which format.
        settings: size, shares, definition of the ellipse and limits.
        seed: of the splits.
        out: gets the arrays of `visage.eyes.prepared`, written frame by frame, `index.csv`, `meta.json` and
            `quarantine.jsonl` (sample_id, reason). The index, written last, says that the set is complete.
        metrics: the JSON file for the returned numbers.
        plots: the folder for `samples.png`.

    Returns:
        Counts of frames, sources, blinks, quarantined frames and maps, and percentiles of the pupil's area in percent
        of the frame.

    Raises:
        ConfigError: a setting is out of range.
        DataError: the data cannot be used, too many frames are bad, or a split stays empty; `quarantine.jsonl` is in
            `out` in the last two cases.
    """
    settings.check()
    check_choice("eyes.data.format", data.format, FORMATS)
    fractions = {"train": settings.train, "val": settings.val, "test": settings.test}
    split_groups([], fractions, seed)  # checks the fractions
    out.mkdir(parents=True, exist_ok=True)
    for name in (INDEX, META, QUARANTINE):
        (out / name).unlink(missing_ok=True)
    frames, bad, arrays = _write_arrays(data, settings, out)
    write_jsonl(out / QUARANTINE, ({"sample_id": entry.sample_id, "reason": entry.reason} for entry in bad))
    limit = settings.max_bad_fraction
    check_usable(len(frames), bad, [], limit, "eyes.prepare", "frame", out / QUARANTINE)
    splits = split_groups([("eye", frame["source"]) for frame in frames], fractions, seed)
    rows = [frame | {"row": row, "split": splits[frame["source"]]} for row, frame in enumerate(frames)]
    check_splits(rows, fractions, "eyes.prepare", data.root, SOURCES[data.format])
    result = _summary(rows, bad, settings)
    index = [{column: row[column] for column in INDEX_COLUMNS} for row in rows]
    content = sha256_bytes(json.dumps([arrays, index]).encode())
    write_json(out / META, {**_meta(data, settings, result), "content": content})
    write_csv(out / INDEX, index, INDEX_COLUMNS)
    write_json(metrics, result)
    _draw_samples(load_set(out), plots / "samples.png")
    counts = ", ".join(f"{name} {number}" for name, number in result["frames"].items())
    print(f"prepare_eyes: {counts} frames of {settings.height} x {settings.width}, {result['sources']} sources, "
          f"{result['blinks']} blinks; {result['quarantined']['total']} quarantined")  # fmt: skip
    if result["preprocessed"]:
        print(f"prepare_eyes: warning: {result['preprocessed']} frames were stored after gamma and CLAHE; a model "
              "trained on them expects pictures treated alike, not raw ones")  # fmt: skip
    return result


def _read(data: EyesData, settings: PrepareEyes) -> Iterator[EyeFrame | Rejected]:
    root = Path(data.root)
    if not root.is_dir():
        raise DataError(f"eyes.data.root={data.root}: no such folder: draw, fetch or link the data there first")
    if data.format == "parquet":
        return read_parquet(root, maps=(settings.height, settings.width) == (HEIGHT, WIDTH))
    return read_sequences(root) if data.format == "sequences" else read_pairs(root)


def _write_arrays(
    data: EyesData, settings: PrepareEyes, out: Path
) -> tuple[list[dict[str, Any]], list[Rejected], list[str]]:
    """Write every frame's row of every array; returns the facts of each row, what was rejected, and the arrays' hashes,
    by which trainers know the frames."""
    cv2.setNumThreads(1)
    height, width = settings.height, settings.width
    work = partial(_convert, height=height, width=width, ellipse=settings.ellipse)
    frames: list[dict[str, Any]] = []
    bad: list[Rejected] = []
    taken: Counter[str] = Counter()
    with ExitStack() as stack:

        def array(name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> GrowingArray:
            return stack.enter_context(GrowingArray(out / name, shape, dtype))

        images, labels = array(IMAGES, (height, width), np.uint8), array(LABELS, (height, width // 8), np.uint8)
        weights = array(WEIGHTS, (height, width), np.uint8)
        distance = array(DISTANCE, (height // 2, width // 2), np.float16)
        ellipses = array(ELLIPSES, (4,), np.float32)
        for result in in_order(work, _read(data, settings), worker_count()):
            if isinstance(result, Rejected):
                bad.append(result)
                continue
            images.append(result.image)
            labels.append(result.label)
            weights.append(result.weights)
            distance.append(result.distance)
            ellipses.append(result.ellipse)
            taken[result.sample_id] += 1
            again = f"#{taken[result.sample_id]}" if taken[result.sample_id] > 1 else ""
            frames.append(
                {
                    "sample_id": result.sample_id + again,
                    "source": result.source,
                    "empty": int(result.area == 0),
                    "area": result.area,
                    "maps": result.maps,
                    "preprocessed": result.preprocessed,
                }
            )
        hashes = [array.digest() for array in (images, labels, weights, distance, ellipses)]
    return frames, bad, hashes


def _convert(frame: EyeFrame | Rejected, *, height: int, width: int, ellipse: str) -> Converted | Rejected:
    return frame if isinstance(frame, Rejected) else convert(frame, height, width, ellipse)


def _summary(rows: Sequence[Mapping[str, Any]], bad: Sequence[Rejected], settings: PrepareEyes) -> dict[str, Any]:
    areas = [100 * row["area"] / (settings.height * settings.width) for row in rows if row["area"]]
    percentiles = np.percentile(areas, (5, 50, 95)) if areas else np.zeros(3)
    return {
        "frames": {split: sum(row["split"] == split for row in rows) for split in SPLITS},
        "sources": len({row["source"] for row in rows}),
        "blinks": sum(row["empty"] for row in rows),
        "preprocessed": sum(row["preprocessed"] for row in rows),
        "maps": {kind: sum(row["maps"] == kind for row in rows) for kind in ("computed", "stored", "replaced")},
        "pupil_area_percent": {
            f"p{share}": round(float(value), 4) for share, value in zip((5, 50, 95), percentiles, strict=True)
        },
        "quarantined": {
            "total": len(bad),
            "fraction": round(len(bad) / (len(rows) + len(bad)), 4),
            "reasons": count_reasons(bad),
        },
    }


def _meta(data: EyesData, settings: PrepareEyes, result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": data.name,
        "format": data.format,
        "height": settings.height,
        "width": settings.width,
        "ellipse": settings.ellipse,
        "source": SOURCES[data.format],
        "preprocessed": result["preprocessed"],
        "maps": result["maps"],
    }


def _draw_samples(eyes: EyeSet, path: Path) -> None:
    """A sheet of frames evenly chosen from each split, their pupils outlined."""
    tiles: list[tuple[np.ndarray, str]] = []
    for split in SPLITS:
        rows = eyes.split(split)
        for row in rows[np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).astype(int)]:
            picture = cv2.cvtColor(np.ascontiguousarray(eyes.images[row]), cv2.COLOR_GRAY2RGB)
            outlines, _ = cv2.findContours(eyes.label(row), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, outlines, -1, (80, 255, 80), 1)
            note = " (blink)" if eyes.rows[row]["empty"] == "1" else ""
            tiles.append((picture, f"{split}: {eyes.rows[row]['source'][:12]}{note}"))
    write_sheet(path, contact_sheet(tiles, SHOWN, TILE))
