"""From any data set of hair to memory-mapped arrays: read, letterbox, judge the masks, split by person.

Coverage stays soft: a mask that is made smaller keeps its edge to a fraction of a pixel, and a matting data set keeps
its strands. What is binary is decided where it is used.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from visage.errors import DataError
from visage.export.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from visage.hair.config import FORMATS, HairData, PrepareHair
from visage.hair.convert import SUSPICIOUS, Converted, convert
from visage.hair.prepare_sheet import write_samples
from visage.hair.prepared import ALPHAS, ATTRIBUTES, IMAGES, INDEX, INDEX_COLUMNS, META, QUARANTINE, load_set
from visage.io.atomic import write_csv, write_json, write_jsonl
from visage.io.growing import GrowingArray
from visage.io.hair_folders import read_celebamask, read_figaro, read_folder_pairs, read_lfw_parts
from visage.io.hair_frames import UNPAIRED, Load, Rejected
from visage.io.intake import check_splits, check_usable, count_reasons, in_order
from visage.io.khairstyle import SOURCE, read_khairstyle
from visage.io.splits import SPLITS, split_groups
from visage.runtime import check_choice, worker_count

MAX_THREADS = 8  # each may hold a picture of 120 megapixels
READERS: Mapping[str, Callable[[Path], Iterator[Load]]] = {
    "khairstyle": read_khairstyle,
    "celebamask": read_celebamask,
    "figaro": read_figaro,
    "lfw_parts": read_lfw_parts,
    "folder": read_folder_pairs,
}
# What a source is: a person only where the data set says who it is.
SOURCES = {
    "khairstyle": SOURCE,
    "celebamask": "the identity in identity_CelebA.txt where it lies in the folder; else each picture",
    "figaro": "each picture",
    "lfw_parts": "the name less its number",
    "folder": "the first folder below images/; else the name before its first _",
}
# The index's columns by the data sets' fields: `curl` there is the code of a perm, natural-curl is the hair's own.
FIELDS = {"curl": "natural-curl", "length": "length", "bangs": "bang"}


def prepare(
    data: HairData, settings: PrepareHair, *, seed: int, out: Path, metrics: Path, plots: Path
) -> dict[str, Any]:
    """Prepare one data set; a second run, with any number of threads, writes the same bytes.

    Args:
        data: where the pictures are, and in which format.
        settings: size, shares and limits.
        seed: of the splits.
        out: gets the arrays of `visage.hair.prepared`, written picture by picture, `index.csv`, `meta.json` (its
            `digest` is the SHA-256 of all pixels and coverage) and `quarantine.jsonl` (sample_id, reason). The index,
            written last, says that the set is complete.
        metrics: the JSON file for the returned numbers.
        plots: the folder for `samples.png`.

    Returns:
        Counts of pictures and sources by split, of suspicious masks and of what is quarantined; the hair's mean share
        of the picture; for each attribute the share of pictures that have it, and how often each value.

    Raises:
        ConfigError: a setting is out of range.
        DataError: the data cannot be used, too many pictures are bad, or a split stays empty; `quarantine.jsonl` is in
            `out` in the last two cases.
    """
    settings.check()
    check_choice("hair.data.format", data.format, FORMATS)
    fractions = {"train": settings.train, "val": settings.val, "test": settings.test}
    split_groups([], fractions, seed)  # checks the fractions
    root = Path(data.root)
    if not root.is_dir():
        raise DataError(f"hair.data.root={data.root}: no such folder: draw, fetch or link the data there first")
    out.mkdir(parents=True, exist_ok=True)
    for name in (INDEX, META, QUARANTINE):
        (out / name).unlink(missing_ok=True)
    pictures, bad, digest = _write_arrays(READERS[data.format](root), settings.size, out)
    write_jsonl(out / QUARANTINE, ({"sample_id": entry.sample_id, "reason": entry.reason} for entry in bad))
    # Halves of pairs are no bad pictures: a data set in many archives is seldom there as a whole.
    faulty = [entry for entry in bad if not entry.reason.startswith(UNPAIRED)]
    limit = settings.max_bad_fraction
    check_usable(len(pictures), faulty, bad, limit, "hair.prepare", "picture", out / QUARANTINE)
    splits = split_groups([("hair", picture["source"]) for picture in pictures], fractions, seed)
    rows = [picture | {"row": row, "split": splits[picture["source"]]} for row, picture in enumerate(pictures)]
    check_splits(rows, fractions, "hair.prepare", data.root, SOURCES[data.format])
    result = _summary(rows, bad)
    write_json(out / META, {"name": data.name, "format": data.format, "source": SOURCES[data.format],
                            "size": settings.size, "pictures": len(rows), "digest": digest})  # fmt: skip
    write_csv(out / INDEX, ({column: row[column] for column in INDEX_COLUMNS} for row in rows), INDEX_COLUMNS)
    write_json(metrics, result)
    write_samples(load_set(out), [row["share"] for row in rows], seed, plots / "samples.png")
    counts = ", ".join(f"{name} {number}" for name, number in result["pictures"].items())
    print(f"prepare_hair: {counts} pictures of {settings.size} px, {sum(result['sources'].values())} sources; "
          f"{sum(result['suspicious'].values())} suspicious, {len(bad)} quarantined")  # fmt: skip
    return result


def _write_arrays(loads: Iterable[Load], size: int, out: Path) -> tuple[list[dict[str, Any]], list[Rejected], str]:
    """Write every picture's row of both arrays; returns the facts of each row, what was rejected, and the digest."""
    cv2.setNumThreads(1)
    preprocessing = Preprocessing(size, size, IMAGENET_MEAN, IMAGENET_STD, resize="letterbox")
    pictures: list[dict[str, Any]] = []
    bad: list[Rejected] = []
    taken: Counter[str] = Counter()
    digest = hashlib.sha256(str(size).encode())
    with (
        GrowingArray(out / IMAGES, (size, size, 3), np.uint8) as images,
        GrowingArray(out / ALPHAS, (size, size), np.uint8) as alphas,
    ):
        work = partial(_convert, preprocessing=preprocessing)
        for result in in_order(work, loads, min(worker_count(), MAX_THREADS)):
            if isinstance(result, Rejected):
                bad.append(result)
                continue
            images.append(result.image)
            alphas.append(result.alpha)
            digest.update(result.image.data)
            digest.update(result.alpha.data)
            taken[result.sample_id] += 1
            again = f"#{taken[result.sample_id]}" if taken[result.sample_id] > 1 else ""
            pictures.append(_facts(result, result.sample_id + again))
    return pictures, bad, digest.hexdigest()


def _convert(load: Load, *, preprocessing: Preprocessing) -> Converted | Rejected:
    frame = load()
    return frame if isinstance(frame, Rejected) else convert(frame, preprocessing)


def _facts(result: Converted, sample_id: str) -> dict[str, Any]:
    left, top, width, height = result.box
    facts = {
        "sample_id": sample_id, "source": result.source, "file": result.file, "left": left, "top": top,
        "width": width, "height": height, "file_height": result.file_size[0], "file_width": result.file_size[1],
        "suspicious": result.suspicious, "share": result.share, "known": tuple(result.attributes),
        "unknown": result.unknown,
    }  # fmt: skip
    return facts | {name: result.attributes.get(FIELDS[name], "") for name in ATTRIBUTES}


def _summary(rows: Sequence[Mapping[str, Any]], bad: Sequence[Rejected]) -> dict[str, Any]:
    shares = np.array([row["share"] for row in rows])
    fields = sorted({field for row in rows for field in row["known"]})
    words = Counter(word for row in rows for word in row["unknown"])
    return {
        "pictures": {split: sum(row["split"] == split for row in rows) for split in SPLITS},
        "sources": {split: len({row["source"] for row in rows if row["split"] == split}) for split in SPLITS},
        "suspicious": {
            kind.replace(" ", "_"): sum(row["suspicious"] == kind for row in rows) for kind in SUSPICIOUS
        },
        "hair_share": {
            "mean": round(float(shares.mean()), 4),
            **{f"p{part}": round(float(value), 4)
               for part, value in zip((5, 50, 95), np.percentile(shares, (5, 50, 95)), strict=True)},
        },
        "attributes": {
            "coverage": {
                field: round(sum(field in row["known"] for row in rows) / len(rows), 4) for field in fields
            },
            "values": {name: dict(sorted(Counter(row[name] or "unknown" for row in rows).items()))
                       for name in ATTRIBUTES},
            "unknown_words": dict(sorted(words.items())),
        },
        "quarantined": {"total": len(bad), "reasons": count_reasons(bad)},
    }  # fmt: skip
