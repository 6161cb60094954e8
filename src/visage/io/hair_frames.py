"""One picture with its hair as every reader gives it, and how a mask's file becomes coverage.

A mask is coverage, not classes: 8-bit values between 0 and 255 are kept as shares of a pixel, 16 bits are scaled to 8,
and a mask of only 0 and 1 means 0 and 255. What is ambiguous, a coloured or transparent mask or a map of class numbers,
is refused: read as coverage it would quietly be nearly empty.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import BadImageError
from visage.io.eye_frames import Rejected, rejected
from visage.io.headers import read_header
from visage.io.images import decode, read_file
from visage.vision.resize import resize

Attribute = str | float | bool | tuple[float, ...]
SMALLEST = 16  # pixels; what is smaller shows no hair
LARGEST_CLASS = 31  # a mask whose largest value is from 2 to this is a map of class numbers
COLOURED = 24  # grey levels between channels that JPEG does not make of grey
# A reason that begins so says that half of a pair is not there, as in every partly downloaded data set.
UNPAIRED = "unpaired"
NUMBER = re.compile(r"(\d+)")
HEADER_NUMBER = re.compile(rb"(?:\s|#[^\n]*\n)+(\d{1,9})")


@dataclass(frozen=True, eq=False)
class HairFrame:
    """A picture and where its hair is.

    source: the person, what a split must not divide. file: the picture's path, relative to the data set. image: H x W
    x 3 uint8, RGB, upright. alpha: H x W uint8, the share of the pixel that hair covers, 255 for all. attributes: by
    K-Hairstyle's fields, in English; what is not known is left out. unknown: "field=value" of words that the
    vocabulary does not have.
    """

    sample_id: str
    source: str
    file: str
    image: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


# A reader gives these, in order: decoding is left to whoever calls them, in as many threads as it likes.
Load = Callable[[], HairFrame | Rejected]


def loading(name: str, read: Callable[[], HairFrame]) -> Load:
    """`read`, whose `BadImageError`, a message that begins with `name`, becomes a `Rejected`."""
    return partial(_guarded, name, read)


def _guarded(name: str, read: Callable[[], HairFrame]) -> HairFrame | Rejected:
    try:
        return read()
    except BadImageError as error:
        return rejected(name, error)


def refused(name: str, reason: str) -> Load:
    """What is refused before anything is decoded."""
    return partial(Rejected, name, reason)


def read_picture(path: Path, name: str) -> tuple[NDArray[np.uint8], int]:
    """A picture, H x W x 3 uint8 RGB, upright, and the EXIF orientation (1 to 8) that its file has.

    Raises:
        BadImageError: it cannot be read, or a side is below 16 pixels.
    """
    data = read_file(path, name)
    image = decode(data, name)
    if min(image.shape[:2]) < SMALLEST:
        height, width = image.shape[:2]
        raise BadImageError(f"{name}: too small ({width}x{height}, at least {SMALLEST} a side): use a larger copy")
    return image, read_header(data, name).orientation


def read_coverage(path: Path, shape: tuple[int, ...], orientation: int, name: str) -> NDArray[np.uint8]:
    """The mask file of a picture as coverage, brought to the picture's size.

    Args:
        path: a JPEG, PNG, WebP, BMP or binary netpbm file, grey, of 1, 8 or 16 bits.
        shape: (height, width) of the picture, upright.
        orientation: the EXIF orientation of the picture's file; a mask drawn over the picture as stored is turned.
        name: what messages call the picture.

    Returns:
        H x W uint8, 255 for hair.

    Raises:
        BadImageError: the mask cannot be read, is no coverage, or is of another shape.
    """
    try:
        mask = to_coverage(read_raw(path))
    except BadImageError as error:
        raise BadImageError(f"{name}: {error}") from None
    return fit_mask(mask, shape, orientation, name)


def read_raw(path: Path) -> NDArray:
    """A mask file as stored: H x W or H x W x C (RGB, RGBA) of uint8 or uint16, EXIF orientation applied where it has
    one.

    Raises:
        BadImageError: it cannot be read; the message begins with "mask".
    """
    data = read_file(path, "mask")
    if data[:2] in (b"P4", b"P5", b"P6"):
        return _netpbm(data)
    checked = decode(data, "mask")  # finds every fault
    raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert raw is not None
    alpha = raw[..., 3] if raw.ndim == 3 and raw.shape[2] == 4 and data[:2] != b"BM" else None  # a BMP's is padding
    if alpha is not None and alpha.min() < (65535 if raw.dtype == np.uint16 else 255):
        raise BadImageError("mask with transparency: export it as grey, white where hair is")
    # 16 bits are kept, since a mask of 0 and 255 in 16 bits would be nothing in 8.
    upright = read_header(data, "mask").orientation == 1
    return raw if raw.dtype == np.uint16 and raw.ndim == 2 and upright else checked


def to_coverage(raw: NDArray) -> NDArray[np.uint8]:
    """What `read_raw` gave as H x W uint8 coverage.

    Raises:
        BadImageError: it is coloured, or a map of class numbers; the message begins with "mask".
    """
    if raw.ndim == 3:
        if int((raw.max(axis=2) - raw.min(axis=2)).max()) > COLOURED:
            raise BadImageError("mask with colours: export it as grey, white where hair is")
        raw = cv2.cvtColor(raw, cv2.COLOR_RGB2GRAY)
    top = int(raw.max())
    if raw.dtype == np.uint16 and top > 255:
        return ((raw.astype(np.uint32) + 128) // 257).astype(np.uint8)
    mask = raw.astype(np.uint8)
    if top == 1:
        return mask * np.uint8(255)
    if 1 < top <= LARGEST_CLASS:
        raise BadImageError(f"mask of class numbers (values up to {top}): use 0 and 255, or coverage up to 255")
    return mask


def fit_mask(mask: NDArray[np.uint8], shape: tuple[int, ...], orientation: int, name: str) -> NDArray[np.uint8]:
    """Bring a mask to its picture's (height, width); arguments as `read_coverage`.

    Raises:
        BadImageError: it has another aspect than the picture, or a side below 16 pixels.
    """
    quarter = {6: -1, 8: 1}.get(orientation)  # what phones write; turned once either way
    if quarter is not None and not _alike(mask.shape, shape) and _alike(mask.shape[::-1], shape):
        mask = np.rot90(mask, quarter)
    if mask.shape == shape[:2]:
        return np.ascontiguousarray(mask)
    if not _alike(mask.shape, shape):
        found, wanted = (f"{width}x{height}" for height, width in (mask.shape, shape[:2]))
        raise BadImageError(f"{name}: its mask is of another size ({found} for {wanted}): export it again")
    return resize(np.ascontiguousarray(mask), shape[1], shape[0])


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two (height, width) are of one aspect, to what rounding the smaller to whole pixels may change."""
    small, large = sorted((one[:2], other[:2]))
    return min(small) >= SMALLEST and abs(large[0] * small[1] - large[1] * small[0]) <= max(large)


def _netpbm(data: bytes) -> NDArray[np.uint8]:
    """A binary PBM (where 1 is black), PGM or PPM file; see the netpbm format specifications."""
    bits, position = data[:2] == b"P4", 2
    numbers: list[int] = []
    while len(numbers) < (2 if bits else 3) and (found := HEADER_NUMBER.match(data, position)):
        numbers.append(int(found[1]))
        position = found.end()
    width, height, largest = (*numbers, *([255] if bits else []), 0, 0, 0)[:3]
    if not width * height or largest != 255:
        raise BadImageError("mask is a damaged or 16-bit netpbm file: convert it to PNG")
    row = -(-width // 8) if bits else width * (3 if data[:2] == b"P6" else 1)
    body = data[position + 1 : position + 1 + row * height]
    if len(body) < row * height:
        raise BadImageError("mask is truncated: copy it again")
    lines = np.frombuffer(body, np.uint8).reshape(height, row)
    if bits:
        return (1 - np.unpackbits(lines, axis=1)[:, :width]) * np.uint8(255)
    return lines if row == width else lines.reshape(height, width, 3)


def numeric_order(text: str) -> list[tuple[int, str]]:
    """A sort key that puts a/10 after a/9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in NUMBER.split(text)]
