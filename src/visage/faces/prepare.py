"""From a labelled folder to `{train,val,test}/<class>/*.png`: decode, resize, find duplicates, split by group.

Every picture is decoded once: it is written to a staging folder while its fingerprint is taken, and moved to its
place when the splits are known, so neither memory nor time grows with a second pass.
"""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from visage.errors import BadImageError, ConfigError, DataError
from visage.faces.config import FacesData, PrepareFaces
from visage.io.atomic import sha256_bytes, write_bytes, write_json, write_jsonl
from visage.io.contact_sheet import contact_sheet
from visage.io.duplicates import find_clusters, fingerprint, merge_groups
from visage.io.folders import Item, Rejected, read_folder
from visage.io.images import decode, encode_png, read_file
from visage.io.names import file_names
from visage.io.splits import SPLITS, split_groups
from visage.vision.resize import resize

STAGING = ".staging"
MAX_THREADS = 8  # each may hold a picture of 120 megapixels


@dataclass(frozen=True)
class _Picture:
    """One resized picture in the staging folder."""

    item: Item
    staged: Path
    sha256: str
    print: np.ndarray


def prepare(
    data: FacesData, settings: PrepareFaces, *, seed: int, out: Path, metrics: Path, plots: Path
) -> dict[str, Any]:
    """Prepare one data set; a second run writes the same bytes.

    Args:
        data: where the pictures and labels are; a relative `labels` is looked for in `root` first.
        settings: size, classes, fractions and limits.
        seed: of the splits.
        out: gets `{train,val,test}/<class>/<name>.png`, `manifest.jsonl` (a row for each picture; `path` is relative
            to `out`; sha256, width and height are of that file; `original` is relative to the root),
            `classes.json` (sorted names) and `quarantine.jsonl` (path, reason). What an earlier run left there is
            removed.
        metrics: the JSON file for the returned numbers.
        plots: the folder for `samples.png`.

    Returns:
        Counts of pictures, classes, groups, quarantined files and duplicates.

    Raises:
        ConfigError: a setting is out of range.
        DataError: the folder cannot be used, too many files are bad, or a split stays empty; `quarantine.jsonl`
            is in `out` then.
    """
    _check(settings)
    fractions = {"train": settings.train, "val": settings.val, "test": settings.test}
    _clear(out)
    items, rejected = read_folder(Path(data.root), _labels_path(data), settings.classes)
    try:
        pictures, undecoded = _decode_all(items, settings.size, out / STAGING)
        bad = sorted([*rejected, *undecoded], key=lambda entry: entry.path)
        write_jsonl(out / "quarantine.jsonl", ({"path": entry.path, "reason": entry.reason} for entry in bad))
        _check_usable(pictures, bad, settings, out)
        clusters = find_clusters(np.stack([picture.print for picture in pictures]), settings.duplicate_bits)
        groups = merge_groups([picture.item.group for picture in pictures], clusters)
        labels = [picture.item.label for picture in pictures]
        splits = split_groups(zip(labels, groups, strict=True), fractions, seed)
        rows = _place(pictures, groups, splits, Path(data.root).resolve(), out)
    finally:
        shutil.rmtree(out / STAGING, ignore_errors=True)
    classes = sorted(set(labels))
    _check_splits(rows, fractions, data.root)
    write_json(out / "classes.json", classes)
    write_jsonl(out / "manifest.jsonl", rows)
    result = _summary(rows, pictures, clusters, bad)
    write_json(metrics, result)
    write_bytes(plots / "samples.png", contact_sheet(_by_class_and_split(rows, classes, out)))
    counts = ", ".join(f"{name} {number}" for name, number in result["pictures"].items())
    print(f"prepare_faces: {len(classes)} classes, {counts}; {len(bad)} quarantined, "
          f"{result['duplicates']['exact'] + result['duplicates']['near']} duplicates")  # fmt: skip
    return result


def _check(settings: PrepareFaces) -> None:
    if settings.size < 8:
        raise ConfigError(f"faces.prepare.size is {settings.size}: use at least 8 pixels")
    if not 0 <= settings.max_bad_fraction <= 1:
        raise ConfigError(f"faces.prepare.max_bad_fraction is {settings.max_bad_fraction}: use 0 to 1")
    split_groups([], {"train": settings.train, "val": settings.val, "test": settings.test}, 0)  # checks the fractions


def _clear(out: Path) -> None:
    for name in (*SPLITS, STAGING):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("manifest.jsonl", "classes.json", "quarantine.jsonl"):
        (out / name).unlink(missing_ok=True)


def _labels_path(data: FacesData) -> Path | None:
    if data.labels is None:
        return None
    inside = Path(data.root) / data.labels
    return inside if inside.exists() else Path(data.labels)


def _decode_all(items: Sequence[Item], size: int, staging: Path) -> tuple[list[_Picture], list[Rejected]]:
    """Stage every item, in order; OpenCV frees the GIL, so threads use all cores, and each holds one picture only."""
    staging.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    threads = min(MAX_THREADS, int(os.environ.get("VISAGE_WORKERS") or os.cpu_count() or 1))
    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(lambda pair: _stage(pair[1], size, staging / f"{pair[0]}.png"), enumerate(items)))
    pictures = [result for result in results if isinstance(result, _Picture)]
    return pictures, [result for result in results if isinstance(result, Rejected)]


def _stage(item: Item, size: int, staged: Path) -> _Picture | Rejected:
    try:
        image = resize(decode(read_file(item.path, ""), ""), size, size)
    except BadImageError as error:
        return Rejected(item.relative, str(error).removeprefix(": "))
    content = encode_png(image)
    staged.write_bytes(content)  # not flushed one by one: the manifest, written last, is what readers trust
    return _Picture(item, staged, sha256_bytes(content), fingerprint(image))
