"""From a labelled folder to `{train,val,test}/<class>/*.png`: decode, resize, find duplicates, split by group.

Every picture is decoded once: it is written to a staging folder while its fingerprint is taken, and moved to its
place when the splits are known, so neither memory nor time grows with a second pass.
"""

import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from visage.errors import BadImageError, DataError
from visage.faces.config import FacesData, PrepareFaces
from visage.io.atomic import sha256_bytes, write_json, write_jsonl
from visage.io.duplicates import find_clusters, fingerprint, merge_groups
from visage.io.folders import Item, Rejected, read_folder
from visage.io.images import encode_png, read_image
from visage.io.names import file_names
from visage.io.splits import SPLITS, split_groups
from visage.runtime import worker_count
from visage.vision.resize import resize
from visage.vision.sheet import contact_sheet, write_sheet

STAGING = ".staging"
SHOWN_CLASSES, TILE = 6, 80  # the sheet's lines, pixels a side
MAX_THREADS = 8  # each may hold a picture of 120 megapixels


@dataclass(frozen=True)
class _Picture:
    """One resized picture in the staging folder."""

    item: Item
    original: str  # path relative to the root
    staged: Path
    sha256: str
    print: np.ndarray
    size: int  # pixels a side


def prepare(
    data: FacesData, settings: PrepareFaces, *, seed: int, out: Path, metrics: Path, plots: Path
) -> dict[str, Any]:
    """Prepare one data set; a second run writes the same bytes.

    Args:
        data: where the pictures and labels are; `labels` lies in `root`.
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
    root = Path(data.root)
    items, rejected = read_folder(root, _labels_path(data), settings.classes)
    try:
        pictures, undecoded = _decode_all(items, root.resolve(), settings.size, out / STAGING)
        bad = sorted([*rejected, *undecoded], key=lambda entry: entry.path)
        write_jsonl(out / "quarantine.jsonl", ({"path": entry.path, "reason": entry.reason} for entry in bad))
        _check_usable(pictures, bad, settings, out)
        clusters = find_clusters(np.stack([picture.print for picture in pictures]), settings.duplicate_bits)
        groups = merge_groups([picture.item.group for picture in pictures], clusters)
        labels = [picture.item.label for picture in pictures]
        splits = split_groups(zip(labels, groups, strict=True), fractions, seed)
        rows = _place(pictures, groups, splits, out)
    finally:
        shutil.rmtree(out / STAGING, ignore_errors=True)
    classes = sorted(set(labels))
    _check_splits(rows, fractions, data.root)
    write_json(out / "classes.json", classes)
    write_jsonl(out / "manifest.jsonl", rows)
    result = _summary(rows, pictures, clusters, bad)
    write_json(metrics, result)
    _draw_samples(rows, classes, out, plots / "samples.png")
    counts = ", ".join(f"{name} {number}" for name, number in result["pictures"].items())
    print(f"prepare_faces: {len(classes)} classes, {counts}; {len(bad)} quarantined, "
          f"{result['duplicates']['exact'] + result['duplicates']['near']} duplicates")  # fmt: skip
    return result


def _check(settings: PrepareFaces) -> None:
    settings.check()
    split_groups([], {"train": settings.train, "val": settings.val, "test": settings.test}, 0)  # checks the fractions


def _clear(out: Path) -> None:
    for name in (*SPLITS, STAGING):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("manifest.jsonl", "classes.json", "quarantine.jsonl"):
        (out / name).unlink(missing_ok=True)


def _labels_path(data: FacesData) -> Path | None:
    if data.labels is None:
        return None
    # Outside of the root DVC would not see it change.
    path = Path(data.root) / data.labels
    if not path.is_file():
        raise DataError(f"faces.data.labels={data.labels}: no such file in {data.root}, where the pictures are")
    return path


def _decode_all(items: Sequence[Item], root: Path, size: int, staging: Path) -> tuple[list[_Picture], list[Rejected]]:
    """Stage every item, in order; OpenCV frees the GIL, so threads use all cores, and each holds one picture only."""
    staging.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    threads = min(MAX_THREADS, worker_count())
    originals = [item.path.relative_to(root).as_posix() for item in items]
    places = [staging / f"{index}.png" for index in range(len(items))]
    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(_stage, items, originals, repeat(size), places))
    pictures = [result for result in results if isinstance(result, _Picture)]
    return pictures, [result for result in results if isinstance(result, Rejected)]


def _stage(item: Item, original: str, size: int, staged: Path) -> _Picture | Rejected:
    try:
        image = resize(read_image(item.path, name=original, at_least=(size, size)), size, size)
    except BadImageError as error:
        return Rejected(original, str(error).removeprefix(f"{original}: "))
    content = encode_png(image)
    staged.write_bytes(content)  # not flushed one by one: the manifest, written last, is what readers trust
    return _Picture(item, original, staged, sha256_bytes(content), fingerprint(image), size)


def _check_usable(pictures: Sequence[_Picture], bad: Sequence[Rejected], settings: PrepareFaces, out: Path) -> None:
    fraction = len(bad) / max(1, len(pictures) + len(bad))
    first = "; ".join(f"{entry.path}: {entry.reason.split(': ')[0]}" for entry in bad[:3])
    where = f"first: {first}; all are in {out / 'quarantine.jsonl'}"
    if fraction > settings.max_bad_fraction:
        raise DataError(
            f"{len(bad)} of {len(pictures) + len(bad)} files are bad ({fraction:.1%}, {where}): repair or remove them, "
            f"or raise faces.prepare.max_bad_fraction ({settings.max_bad_fraction})"
        )
    if not pictures:
        raise DataError(f"no readable picture ({where}): repair them")
    empty = set(settings.classes or ()) - {picture.item.label for picture in pictures}
    if empty:
        raise DataError(f"no readable picture in class {', '.join(sorted(empty))} ({where}): repair them")


def _place(
    pictures: Sequence[_Picture], groups: Sequence[str], splits: Mapping[str, str], out: Path
) -> list[dict[str, Any]]:
    """Move every picture to its split; returns the manifest's rows, sorted by path."""
    labels = [picture.item.label for picture in pictures]
    names = file_names([picture.item.sample_id for picture in pictures], labels)
    rows = []
    for picture, group, name in zip(pictures, groups, names, strict=True):
        item, split = picture.item, splits[group]
        path = f"{split}/{item.label}/{name}.png"
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(picture.staged, out / path)
        row = {"sample_id": item.sample_id, "source": item.source, "group": group, "class": item.label, "split": split}
        row |= {"path": path, "original": picture.original, "sha256": picture.sha256}
        rows.append(row | {"width": picture.size, "height": picture.size})
    return sorted(rows, key=lambda row: row["path"])


def _check_splits(rows: Sequence[Mapping[str, Any]], fractions: Mapping[str, float], root: str) -> None:
    for split, fraction in fractions.items():
        if fraction > 0 and not any(row["split"] == split for row in rows):
            raise DataError(
                f"{root}: nothing is left for {split}: no class has enough groups (three for train, val and test, two "
                f"without val): add sessions, or set faces.prepare.{split} to 0"
            )


def _summary(
    rows: Sequence[Mapping[str, Any]], pictures: Sequence[_Picture], clusters: np.ndarray, bad: Sequence[Rejected]
) -> dict[str, Any]:
    per_class = Counter(row["class"] for row in rows)
    seen = {split: {row["class"] for row in rows if row["split"] == split} for split in SPLITS}
    exact = len(pictures) - len({picture.sha256 for picture in pictures})
    labels_of: dict[int, set[str]] = defaultdict(set)
    for picture, cluster in zip(pictures, clusters.tolist(), strict=True):
        labels_of[cluster].add(picture.item.label)
    return {
        "pictures": {split: sum(row["split"] == split for row in rows) for split in SPLITS},
        "classes": len(per_class),
        "classes_missing": {split: len(per_class) - len(seen[split]) for split in SPLITS},
        "pictures_per_class": {"min": min(per_class.values()), "max": max(per_class.values())},
        "groups": len({row["group"] for row in rows}),
        "quarantined": {
            "total": len(bad),
            "fraction": round(len(bad) / (len(rows) + len(bad)), 4),
            "reasons": dict(sorted(Counter(re.split(r": | \(", entry.reason)[0] for entry in bad).items())),
        },
        "duplicates": {
            "exact": exact,
            "near": len(pictures) - len(labels_of) - exact,
            "groups_merged": len({p.item.group for p in pictures}) - len({row["group"] for row in rows}),
            "conflicting_labels": sum(len(labels) > 1 for labels in labels_of.values()),
        },
    }


def _draw_samples(rows: Sequence[Mapping[str, Any]], classes: Sequence[str], out: Path, path: Path) -> None:
    """A sheet with a line for each of some classes, evenly chosen: two pictures of it in each split."""
    tiles: list[tuple[np.ndarray, str]] = []
    for name in _spread(classes, SHOWN_CLASSES):
        for split in SPLITS:
            chosen = _spread([row["path"] for row in rows if (row["class"], row["split"]) == (name, split)], 2)
            shown = [resize(read_image(out / picture), TILE, TILE) for picture in chosen]
            blank = [np.full((TILE, TILE, 3), 235, np.uint8)] * (2 - len(shown))
            tiles += zip(shown + blank, (split, name[:12]), strict=True)
    write_sheet(path, contact_sheet(tiles, 2 * len(SPLITS), TILE))


def _spread(values: Sequence[str], number: int) -> list[str]:
    """At most `number` of `values`, evenly spaced."""
    number = min(number, len(values))
    return [values[index * len(values) // number] for index in range(number)]
