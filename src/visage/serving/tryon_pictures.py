"""Try-on's pictures: read, cut to the square that the network works on, and the painted square laid back."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import VisageError
from visage.inpaint.painter import Canvas
from visage.inpaint.pictures import style_image
from visage.inpaint.sampling import compose
from visage.io.images import read_image
from visage.serving.hair_masks import Finder
from visage.serving.recolor import read_mask
from visage.vision.bald import remove_hair
from visage.vision.detect import Face
from visage.vision.recolor import check_mask
from visage.vision.resize import resize
from visage.vision.square import Square, about_face, frame

HALF = 128  # a pixel that hair half covers is hair
Pixels = NDArray[np.uint8]
Picture = Path | str | Pixels


@dataclass(frozen=True, eq=False)
class Part:
    """A picture's square, and its picture, hair mask ({0, 255}) and face at the size of the prepared pictures."""

    square: Square
    image: Pixels
    mask: Pixels
    face: Face | None


def read_picture(picture: Picture) -> Pixels:
    """H x W x 3 uint8 RGB.

    Raises:
        VisageError: it is none.
    """
    pixels = picture if isinstance(picture, np.ndarray) else read_image(picture)
    if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,) or not pixels.size:
        raise VisageError(f"a picture of {pixels.dtype} {pixels.shape}: give HxWx3 uint8 RGB")
    return pixels


def find_hair(picture: Pixels, given: Picture | None, finder: Finder | None, face: Face | None) -> Pixels:
    """The hair of `picture`, H x W of {0, 255}: as `given`, else as `finder` finds it about `face`, where there is one,
    because finders were trained on heads that fill the picture.

    Raises:
        VisageError: what is given is no mask of this picture.
    """
    if given is not None:
        mask = given if isinstance(given, np.ndarray) else read_mask(given, picture)
        check_mask("mask", mask, picture)
        return np.where(mask >= HALF, 255, 0).astype(np.uint8)
    assert finder is not None
    if face is None:
        return 255 * finder(picture)
    square = about_face(face.box)
    return square.laid(255 * finder(square.cut(picture)), np.zeros(picture.shape[:2], np.uint8))


def part_of(picture: Pixels, hair: Pixels, face: Face | None, size: int) -> Part | None:
    """What is worked on, as prepare_inpaint prepares pictures; None where there is no hair."""
    if not hair.any():
        return None
    square = frame(hair, face.box if face else None)
    mask = np.where(resize(square.cut(hair), size, size) >= HALF, 255, 0).astype(np.uint8)
    if not mask.any():
        return None
    if face is not None:
        x0, y0, x1, y1 = (size * share for share in square.inside(face.box))
        corner = np.array((square.left, square.top), np.float32)
        points = None if face.points is None else ((face.points - corner) * (size / square.side)).astype(np.float32)
        face = Face((x0, y0, x1, y1), face.score, points)
    return Part(square, resize(square.cut(picture), size, size), mask, face)


def canvas_of(part: Part, size: int, growth: float) -> Canvas:
    """The part at the network's size, as `visage.inpaint.picture_set` brings prepared pictures there."""
    bald, filled = remove_hair(part.image, part.mask, growth)
    return Canvas(
        resize(part.image, size, size), resize(bald, size, size),
        (resize(filled, size, size) > 0).astype(np.uint8), (resize(part.mask, size, size) >= HALF).astype(np.uint8),
    )  # fmt: skip


def on_white(part: Part) -> Pixels:
    """The square about the hair, nothing but hair in it, for an encoder that knows whole pictures."""
    alone = style_image(part.image, part.mask, len(part.image))
    return np.where(alone[..., 3:] != 0, alone[..., :3], 255).astype(np.uint8)


def lay(painted: Pixels, picture: Pixels, hair: Pixels, square: Square, growth: float) -> tuple[Pixels, Pixels]:
    """`picture` with `painted` (S x S x 3) in its `square` where `hair` (H x W), wider by `growth` of the square, says
    so; and where that is, H x W of {0, 1}. Everything else is `picture` bit for bit."""
    # As `vision.bald.grow`, which takes seconds for the wide kernel of a large photograph; the last pixel is its own.
    away = cv2.distanceTransform((square.cut(hair) == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    wide = (away <= max(1, round(growth * square.side)) - 1).astype(np.uint8)
    bald, area = remove_hair(square.cut(picture), wide, 0)
    paint = (area != 0).astype(np.uint8)
    blended = compose(bald, resize(painted, square.side, square.side), paint)
    return square.laid(blended, picture), square.laid(paint, np.zeros_like(hair))
