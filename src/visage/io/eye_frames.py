"""One labelled eye as every reader gives it, and the checks they share.

Orientation is judged before anything is reshaped: OpenEDS-2019 stands upright (640 rows of 400), and its numbers
poured into 400 rows of 640 make a scrambled picture that nothing downstream would complain about.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import BadImageError

# Rows and columns of both published data sets and of the drawn eyes.
HEIGHT, WIDTH = 400, 640


@dataclass(frozen=True, eq=False)
class EyeFrame:
    """A picture with its pupil.

    image: H x W uint8, grey. label: H x W uint8 of {0, 1}, all 0 for a closed eye. source: whose eye, what a split must
    not divide. weights: H x W float32, at least 0. distance: H x W float32, pixels to the pupil's edge, negative inside
    (the class maps as published are this over the diagonal). ellipse: (cx / W, cy / H, rx / R, ry / R) with R half the
    diagonal. The last three are None where the data set stores none. preprocessed: gamma and CLAHE were applied
    before the picture was stored.
    """

    sample_id: str
    source: str
    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    weights: NDArray[np.float32] | None = None
    distance: NDArray[np.float32] | None = None
    ellipse: tuple[float, float, float, float] | None = None
    preprocessed: bool = False


@dataclass(frozen=True)
class Rejected:
    """A frame that is not used, and why: "fault (detail): remedy"; `sample_id` begins with its file."""

    sample_id: str
    reason: str


def rejected(name: str, error: BadImageError) -> Rejected:
    """The refusal of frame `name` that `error`, whose message begins with the name, stands for."""
    return Rejected(name, str(error).removeprefix(f"{name}: "))


def check_shape(shape: tuple[int, ...], name: str, expected: tuple[int, ...] | None = None) -> None:
    """Refuse what is no landscape picture.

    Args:
        shape: (rows, columns).
        name: what messages call the frame.
        expected: the only shape to accept; None for any that is at least as wide as high.

    Raises:
        BadImageError: names the frame and its shape.
    """
    if len(shape) != 2 or 0 in shape:
        raise BadImageError(f"{name}: wrong shape ({_text(shape)}): expected rows x columns")
    if shape[0] > shape[1]:
        raise BadImageError(f"{name}: portrait ({_text(shape)}): turn or crop it so that it is wider than high")
    if expected is not None and shape != expected:
        raise BadImageError(f"{name}: wrong shape ({_text(shape)}): expected {_text(expected)}")


def check_not_scrambled(image: NDArray[np.uint8], name: str) -> None:
    """Refuse a portrait that came as a flat list and was poured into 400 x 640.

    Args:
        image: 400 x 640 uint8.
        name: what messages call the frame.

    Raises:
        BadImageError: pixels 400 apart are more alike than pixels 640 apart, so the rows were 400 long.
    """
    # Over 250 drawn eyes the ratio was at least 1.5 as they are, and at most 0.55 when scrambled.
    flat = image.reshape(-1)
    apart = {step: cv2.norm(flat[step:], flat[:-step], cv2.NORM_L1) / (flat.size - step) for step in (HEIGHT, WIDTH)}
    if apart[HEIGHT] < 0.7 * apart[WIDTH]:
        raise BadImageError(
            f"{name}: portrait ({WIDTH} x {HEIGHT} in a flat list): turn or crop it so that it is wider than high"
        )


def to_bytes(values: NDArray, name: str, what: str) -> NDArray[np.uint8]:
    """`values` as uint8.

    Raises:
        BadImageError: they are no whole numbers from 0 to 255; `name` and `what` say where.
    """
    if values.dtype == np.uint8:
        return values
    # Written so that a NaN fails too.
    if values.dtype.kind not in "biuf" or not np.all((values >= 0) & (values <= 255)):
        raise BadImageError(f"{name}: {what} is not of bytes ({values.dtype}): expected whole numbers from 0 to 255")
    result = values.astype(np.uint8)
    if values.dtype.kind == "f" and np.any(result != values):
        raise BadImageError(f"{name}: {what} has fractions: expected whole numbers from 0 to 255")
    return result


def pupil_mask(values: NDArray[np.uint8], pupil: int, name: str) -> NDArray[np.uint8]:
    """The mask {0, 1} of class `pupil`, the last of the classes from 0; all 0 is a closed eye.

    Args:
        values: H x W uint8, a class for each pixel.
        pupil: 1 for binary labels, 3 for OpenEDS's four classes.
        name: what messages call the frame.

    Raises:
        BadImageError: the label has another value.
    """
    largest = int(values.max())
    if largest > pupil:
        raise BadImageError(f"{name}: label with other values (such as {largest}): expected 0 to {pupil}")
    return (values == pupil).astype(np.uint8)


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "no axes"
