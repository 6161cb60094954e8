"""Readers of eyes that lie in folders: OpenEDS sequences (S_*/k.png with k.npy), and images/ with masks/.

Whose eye it is follows from the path alone. Sequences: the folder S_*. images/ and masks/: the first folder below
images/, and for a picture directly in it the name before its first "_" (the whole name where there is none).
"""

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import BadImageError, DataError
from visage.io.eye_frames import HEIGHT, WIDTH, EyeFrame, Rejected, check_shape, pupil_mask, rejected, to_bytes
from visage.io.folders import READ_SUFFIXES, REFUSED_SUFFIXES
from visage.io.images import read_image

PUPIL = 3  # background, sclera, iris, pupil
NUMBER = re.compile(r"(\d+)")


def read_sequences(root: Path) -> Iterator[EyeFrame | Rejected]:
    """Every S_*/k.png with its label k.npy (400 x 640 of classes 0 to 3, 3 the pupil), in numeric order.

    Raises:
        DataError: there is no such picture.
    """
    paths = sorted(root.glob("S_*/*.png"), key=lambda path: _numeric(path.relative_to(root).as_posix()))
    if not paths:
        raise DataError(f"{root}: no S_*/*.png in it: give the folder of OpenEDS sequences")
    for path in paths:
        name = path.relative_to(root).as_posix()
        try:
            image = _read_grey(path, name)
            check_shape(image.shape, name, (HEIGHT, WIDTH))
            label = _read_classes(path.with_suffix(".npy"), name)
            check_shape(label.shape, name, (HEIGHT, WIDTH))
            yield EyeFrame(name, path.parent.name, image, pupil_mask(label, PUPIL, name))
        except BadImageError as error:
            yield rejected(name, error)


def read_pairs(root: Path) -> Iterator[EyeFrame | Rejected]:
    """Every picture below images/ with the mask of equal path and stem below masks/ (0 and 255, or 0 and 1), by path.

    Pictures may have any size that is at least as wide as high.

    Raises:
        DataError: one of the two folders is missing, or there is no picture.
    """
    for folder in (root / "images", root / "masks"):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder: give a folder with images/ and masks/ of equal names")
    images, masks = _by_stem(root / "images"), _by_stem(root / "masks")
    if not images:
        raise DataError(f"{root / 'images'}: no pictures in it")
    for stem in sorted(images.keys() | masks.keys(), key=_numeric):
        found = images.get(stem, []) + masks.get(stem, [])
        name = found[0].relative_to(root).as_posix()
        try:
            yield _pair(images.get(stem, []), masks.get(stem, []), stem, name)
        except BadImageError as error:
            yield rejected(name, error)


def _pair(images: list[Path], masks: list[Path], stem: str, name: str) -> EyeFrame:
    for paths, folder in ((images, "images/"), (masks, "masks/")):
        if len(paths) != 1:
            fault = f"{len(paths)} files of its name in {folder}" if paths else f"no file of its name in {folder}"
            raise BadImageError(f"{name}: {fault}: give one picture and one mask of equal names")
    image = _read_grey(images[0], name)
    check_shape(image.shape, name)
    try:
        mask = _read_grey(masks[0], "mask")
    except BadImageError as error:
        raise BadImageError(f"{name}: bad {error}") from None
    if mask.shape != image.shape:
        raise BadImageError(f"{name}: its mask is of another size ({mask.shape} for {image.shape}): export it again")
    if mask.max() == 255:
        middle = mask[(mask > 0) & (mask < 255)]
        if middle.size:
            raise BadImageError(f"{name}: mask with other values (such as {middle[0]}): use 0 and 255, as a PNG")
        mask = mask // 255
    source = stem.split("/")[0] if "/" in stem else stem.split("_")[0]
    return EyeFrame(stem, source, image, pupil_mask(mask, 1, name))


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """The picture files below `folder` by their path without suffix; hidden ones are ignored."""
    result: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in relative.parts)
        if not hidden and path.suffix.lower() in READ_SUFFIXES | REFUSED_SUFFIXES:
            result.setdefault(relative.with_suffix("").as_posix(), []).append(path)
    return result


def _read_grey(path: Path, name: str) -> NDArray[np.uint8]:
    # Exact where the three channels are equal.
    return cv2.cvtColor(read_image(path, name=name), cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def _read_classes(path: Path, name: str) -> NDArray[np.uint8]:
    if not path.is_file():
        raise BadImageError(f"{name}: no label ({path.name} is missing): add it, or remove the picture")
    try:
        # Mapped: a header may claim more than there is memory, or than the file holds.
        stored = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError):
        raise BadImageError(f"{name}: damaged label ({path.name} is no whole .npy file): export it again") from None
    check_shape(stored.shape, name, (HEIGHT, WIDTH))
    return to_bytes(np.asarray(stored), name, path.name)


def _numeric(text: str) -> list[tuple[int, str]]:
    """A sort key that puts S_2/10 after S_2/9, and S_10 after S_2."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in NUMBER.split(text)]
