"""Readers of hair masks in folders: CelebAMask-HQ, Figaro-1k, the LFW parts, and anybody's images/ with masks/.

Who is in a picture follows from the data set alone, because a split must not divide people: CelebA's identities where
their list lies in the folder, LFW's names, the folders below images/. Figaro-1k says nothing of it: each picture counts
as a person of its own.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from visage.errors import BadImageError, DataError
from visage.io.folders import READ_SUFFIXES, REFUSED_SUFFIXES
from visage.io.hair_frames import (
    Attribute,
    HairFrame,
    Load,
    fit_mask,
    loading,
    numeric_order,
    read_coverage,
    read_picture,
    read_raw,
)

CELEBA_IMAGES, CELEBA_MASKS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
CELEBA_MAPPING, CELEBA_PEOPLE = "CelebA-HQ-to-CelebA-mapping.txt", "identity_CelebA.txt"
CELEBA_PER_FOLDER = 2000
LFW_IMAGES, LFW_MASKS = "lfw_funneled", "parts_lfw_funneled_gt_images"
LFW_ODD = 0.01  # share of pixels that may be of no part's colour
# Figaro-1k has its classes in blocks of 150 frames; those of K-Hairstyle's natural-curl are used.
FIGARO_BLOCK = 150
FIGARO_CURLS = ("straight", "wavy", "curly", "tightly curly")
NETPBM_SUFFIXES = {".pbm", ".pgm", ".ppm"}


def read_celebamask(root: Path) -> Iterator[Load]:
    """CelebAMask-HQ: CelebA-HQ-img/<n>.jpg with CelebAMask-HQ-mask-anno/<n // 2000>/<n, 5 digits>_hair.png.

    A picture whose other parts are there but hair is not shows no hair. The source is CelebA's identity where
    `identity_CelebA.txt` (it comes with CelebA) and the mapping lie in `root`, else the picture itself.

    Raises:
        DataError: a folder is missing or holds no pictures.
    """
    pictures = _pictures(root, CELEBA_IMAGES, (CELEBA_IMAGES, CELEBA_MASKS))
    people = _celeba_people(root)
    for path in pictures:
        name = path.relative_to(root).as_posix()
        yield loading(name, partial(_celebamask, root, path, name, people.get(path.stem, path.stem)))


def read_figaro(root: Path) -> Iterator[Load]:
    """Figaro-1k: Original/{Training,Testing}/Frame<n>-org.jpg with GT/{Training,Testing}/Frame<n>-gt.pbm.

    Raises:
        DataError: a folder is missing or holds no pictures.
    """
    for path in _pictures(root, "Original", ("Original", "GT")):
        name = path.relative_to(root).as_posix()
        stem = path.stem.removesuffix("-org")
        masks = (root / "GT" / path.parent.relative_to(root / "Original")).glob(f"{stem}-gt.*")
        yield loading(name, partial(_pair, path, sorted(masks), name, stem, stem, _figaro_curl(stem)))


def read_lfw_parts(root: Path) -> Iterator[Load]:
    """LFW with its part labels: lfw_funneled/<name>/<name>_<n>.jpg for each label
    parts_lfw_funneled_gt_images/<name>_<n>.ppm (hair red, skin green, background blue).

    Raises:
        DataError: a folder is missing or holds no labels.
    """
    for path in _pictures(root, LFW_MASKS, (LFW_IMAGES, LFW_MASKS)):
        name = path.relative_to(root).as_posix()
        yield loading(name, partial(_lfw, root, path, name))


def read_folder_pairs(root: Path) -> Iterator[Load]:
    """Every picture below images/ with the mask of equal path and stem below masks/, by path.

    Masks are coverage as `visage.io.hair_frames` says. The source is the first folder below images/, and for a picture
    directly in it the name before its first "_" (the whole name where there is none).

    Raises:
        DataError: a folder is missing or holds no pictures.
    """
    _pictures(root, "images", ("images", "masks"))
    images, masks = _by_stem(root / "images"), _by_stem(root / "masks")
    for stem in sorted(images.keys() | masks.keys(), key=numeric_order):
        pair = images.get(stem, []), masks.get(stem, [])
        name = (pair[0] + pair[1])[0].relative_to(root).as_posix()
        yield loading(name, partial(_folder_pair, *pair, name, stem))


def _celebamask(root: Path, path: Path, name: str, source: str) -> HairFrame:
    if not path.stem.isdecimal():
        raise BadImageError(f"{name}: its name is no number: give the folder as published")
    number = int(path.stem)
    parts = root / CELEBA_MASKS / str(number // CELEBA_PER_FOLDER)
    hair = parts / f"{number:05d}_hair.png"
    if hair.is_file() or not any(parts.glob(f"{number:05d}_*.png")):
        return _pair(path, [hair] if hair.is_file() else [], name, path.stem, source)
    image, _ = read_picture(path, name)
    return HairFrame(path.stem, source, name, image, np.zeros(image.shape[:2], np.uint8))


def _celeba_people(root: Path) -> dict[str, str]:
    """The identity of each of CelebA-HQ's numbers; nothing where one of the two lists is missing."""
    if not (root / CELEBA_MAPPING).is_file() or not (root / CELEBA_PEOPLE).is_file():
        return {}
    lines = (line.split() for line in (root / CELEBA_PEOPLE).read_text(encoding="utf-8").splitlines())
    people = {words[0]: words[1] for words in lines if len(words) >= 2}
    rows = (line.split() for line in (root / CELEBA_MAPPING).read_text(encoding="utf-8").splitlines())
    return {row[0]: people[row[2]] for row in rows if len(row) >= 3 and row[2] in people}


def _figaro_curl(stem: str) -> dict[str, Attribute]:
    digits = stem.removeprefix("Frame")
    block = (int(digits) - 1) // FIGARO_BLOCK if digits.isdecimal() else -1
    return {"natural-curl": FIGARO_CURLS[block]} if 0 <= block < len(FIGARO_CURLS) else {}


def _lfw(root: Path, label: Path, name: str) -> HairFrame:
    source = label.stem.rpartition("_")[0] or label.stem
    path = root / LFW_IMAGES / source / f"{label.stem}.jpg"
    picture = path.relative_to(root).as_posix()
    image, orientation = read_picture(path, name)
    try:
        parts = read_raw(label)
    except BadImageError as error:
        raise BadImageError(f"{name}: {error}") from None
    if parts.ndim != 3 or np.mean(np.count_nonzero(parts >= 128, axis=2) != 1) > LFW_ODD:
        raise BadImageError(f"{name}: mask of other colours than red, green and blue: give the labels as published")
    hair = (parts[..., 0] >= 128).astype(np.uint8) * np.uint8(255)
    alpha = fit_mask(hair, image.shape, orientation, name)
    return HairFrame(label.stem, source, picture, image, alpha)


def _folder_pair(images: list[Path], masks: list[Path], name: str, stem: str) -> HairFrame:
    if len(images) != 1:
        raise BadImageError(f"{name}: {_count(images, 'images/')}: give one picture and one mask of equal names")
    source = stem.split("/")[0] if "/" in stem else stem.split("_")[0]
    return _pair(images[0], masks, name, stem, source)


def _pair(
    path: Path, masks: list[Path], name: str, sample_id: str, source: str, attributes: dict[str, Attribute] = {}
) -> HairFrame:
    if len(masks) != 1:
        raise BadImageError(f"{name}: {_count(masks, 'the masks')}: give one picture and one mask of equal names")
    image, orientation = read_picture(path, name)
    alpha = read_coverage(masks[0], image.shape, orientation, name)
    return HairFrame(sample_id, source, name, image, alpha, attributes)


def _count(paths: list[Path], place: str) -> str:
    return f"{len(paths)} files of its name in {place}" if paths else f"no file of its name in {place}"


def _pictures(root: Path, folder: str, needed: tuple[str, str]) -> list[Path]:
    """The picture files below `root / folder` in numeric order.

    Raises:
        DataError: one of the `needed` folders is missing, or there is no picture.
    """
    for name in needed:
        if not (root / name).is_dir():
            raise DataError(f"{root / name}: no such folder: give the folder that holds {' and '.join(needed)}")
    found = [path for paths in _by_stem(root / folder).values() for path in paths]
    if not found:
        raise DataError(f"{root / folder}: no pictures in it")
    return sorted(found, key=lambda path: numeric_order(path.relative_to(root).as_posix()))


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """The picture files below `folder` by their path without suffix; hidden ones are ignored."""
    result: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in relative.parts)
        if not hidden and path.suffix.lower() in READ_SUFFIXES | REFUSED_SUFFIXES | NETPBM_SUFFIXES:
            result.setdefault(relative.with_suffix("").as_posix(), []).append(path)
    return result
