"""What becomes of one original: hair mask, bald picture, hair alone, style image, patches, identity.

Everything that shows hair alone has RGB 0 where its alpha is 0, so that no file carries the rest of the photograph
along, and the mask of what was filled is kept, because a network must repaint at least that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import BadImageError
from visage.inpaint.config import PrepareInpaint
from visage.inpaint.identity import ALIGNED, NULL, Embedder, sharpness, to_width
from visage.io.khairstyle_rings import CROP, Ring, fill_rings
from visage.vision.align import crop_square
from visage.vision.bald import remove_hair
from visage.vision.detect import Detector, Face, largest
from visage.vision.patches import starts
from visage.vision.resize import resize

Pixels = NDArray[np.uint8]
# Around polygon2 the detector looks for the five points: a share of its longer side, on either side.
SEARCH = 0.5
POLYGON, NOTHING = "polygon", "none"
# Why there is no identity.
NO_FACE, NO_POINTS, BLURRED, OFF = "no face", "no points", "blurred", "off"


@dataclass(frozen=True, eq=False)
class Identity:
    """embedding: 512 float32 of unit length, or 0 where `missing` says why there is none."""

    embedding: NDArray[np.float32]
    missing: str = ""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An original's pictures, S x S unless said otherwise.

    image, bald: RGB. mask: hair, {0, 255}. filled: what the bald picture invents, {0, 255}, never less than the mask.
    hair: RGBA. style: RGBA, T x T. patches: RGB P x P, in reading order; candidates: how many there were before the
    cap. face: its box in the picture, or None, as `face_by` ("polygon", the detector's name, "none") found it.
    """

    image: Pixels
    bald: Pixels
    mask: Pixels
    filled: Pixels
    hair: Pixels
    style: Pixels
    patches: list[Pixels]
    candidates: int
    face: tuple[float, float, float, float] | None
    face_by: str
    identity: Identity


def prepare_picture(
    picture: Pixels,
    hair: list[Ring],
    face: list[Ring],
    settings: PrepareInpaint,
    detector: Detector | None,
    embedder: Embedder | None,
) -> Prepared:
    """Prepare one square original.

    Args:
        picture: N x N x 3 uint8 RGB.
        hair: polygons of the hair, in the 512 x 512 crop.
        face: likewise of the face; may be empty.
        settings: of the stage.
        detector: of faces, or None.
        embedder: of identity, or None.

    Raises:
        BadImageError: the picture is too small, or its polygons show no hair in it.
    """
    if len(picture) < settings.min_side:
        raise BadImageError(
            f"too small ({len(picture)} px a side, inpaint.prepare.min_side is {settings.min_side}): give a larger copy"
        )
    image = resize(picture, settings.size, settings.size)
    mask = fill_rings(hair, settings.size)
    if not mask.any():
        raise BadImageError("polygon1 lies outside the picture: export the label again")
    bald, filled = remove_hair(image, mask, settings.growth)
    boxes, candidates = patch_places(mask, settings)
    patches = [image[y : y + settings.patch, x : x + settings.patch] for x, y in boxes]
    found, found_by = find_face(image, face, detector, settings.detector)
    return Prepared(
        image, bald, mask, filled, hair_alone(image, mask), style_image(image, mask, settings.style), patches,
        candidates, found.box if found else None, found_by, identify(image, found, detector, embedder, settings),
    )  # fmt: skip


def hair_alone(image: Pixels, mask: Pixels) -> Pixels:
    """RGBA: `image` where `mask` is 255, and 0 everywhere else in all four channels."""
    return np.dstack((np.where(mask[..., None] != 0, image, 0).astype(np.uint8), mask))


def style_image(image: Pixels, mask: Pixels, side: int) -> Pixels:
    """The square about the hair, of which there is some, as RGBA, side x side, nothing but hair in it.

    Colours are averaged over hair alone, so that no background bleeds in where pixels are brought together; a pixel
    that hair half covers is one, its colour the hair's.
    """
    left, top, width, height = cv2.boundingRect(mask)
    box = float(left), float(top), float(left + width), float(top + height)
    colours = crop_square(hair_alone(image, mask)[..., :3], box, side).astype(np.float32)
    cover = crop_square(np.ascontiguousarray(mask), box, side)
    alone = np.where(cover[..., None] >= 128, colours * 255 / np.maximum(cover, 1)[..., None].astype(np.float32), 0)
    alpha = np.where(cover >= 128, 255, 0).astype(np.uint8)
    return np.dstack((alone.round().clip(0, 255).astype(np.uint8), alpha))


def patch_places(mask: Pixels, settings: PrepareInpaint) -> tuple[list[tuple[int, int]], int]:
    """Corners (x0, y0) of patches with enough hair, in reading order, at most `patches_per_source` evenly chosen ones;
    and how many there were.

    Windows slide over the hair's bounding box, its last row and column included.
    """
    side = settings.patch
    left, top, width, height = cv2.boundingRect(mask)
    total = cv2.integral((mask != 0).astype(np.uint8))
    found = []
    overlap = max(0, side - settings.patch_stride)
    for y in (top + start for start in starts(height, side, overlap)):
        for x in (left + start for start in starts(width, side, overlap)):
            if y + side > len(mask) or x + side > mask.shape[1]:
                continue  # hair narrower than a patch, at the picture's border
            inside = total[y + side, x + side] - total[y, x + side] - total[y + side, x] + total[y, x]
            if inside >= settings.patch_hair * side * side:
                found.append((x, y))
    step = max(1.0, len(found) / settings.patches_per_source)
    return [found[int(place * step)] for place in range(min(len(found), settings.patches_per_source))], len(found)


def find_face(image: Pixels, rings: list[Ring], detector: Detector | None, name: str) -> tuple[Face | None, str]:
    """The face and who found it: the polygons where there are any, else the detector's largest."""
    if rings:
        points = (np.concatenate(rings) + 0.5) * (len(image) / CROP) - 0.5
        (x0, y0), (x1, y1) = points.min(0), points.max(0)
        inside = float(np.clip(x0, 0, len(image))), float(np.clip(y0, 0, len(image)))
        outside = float(np.clip(x1 + 1, 0, len(image))), float(np.clip(y1 + 1, 0, len(image)))
        if outside[0] - inside[0] > 1 and outside[1] - inside[1] > 1:
            return Face((*inside, *outside), 1.0), POLYGON
    face = largest(detector(image)) if detector else None
    return face, name if face else NOTHING


def identify(
    image: Pixels, face: Face | None, detector: Detector | None, embedder: Embedder | None, settings: PrepareInpaint
) -> Identity:
    """The identity of `face`, or why it has none; it never stops a picture."""
    if embedder is None:
        return Identity(NULL, OFF)
    if face is None:
        return Identity(NULL, NO_FACE)
    if sharpness(image, face) < settings.sharpness:
        return Identity(NULL, BLURRED)
    if settings.embedder in ALIGNED and face.points is None:
        near = _points_near(image, face, detector)
        if near is None:
            return Identity(NULL, NO_POINTS)
        face = near
    try:
        return Identity(to_width(embedder(image, face)))
    except ValueError:
        return Identity(NULL, BLURRED)


def _points_near(image: Pixels, face: Face, detector: Detector | None) -> Face | None:
    """`face` with the five points that the detector finds where the polygon marks it; None where it finds none."""
    if detector is None:
        return None
    width, height = face.box[2] - face.box[0], face.box[3] - face.box[1]
    reach = SEARCH * max(width, height)
    x0, y0 = max(0, int(face.box[0] - reach)), max(0, int(face.box[1] - reach))
    part = np.ascontiguousarray(image[y0 : int(face.box[3] + reach) + 1, x0 : int(face.box[2] + reach) + 1])
    found = largest([near for near in detector(part) if near.points is not None])
    if found is None or found.points is None:
        return None
    return Face(face.box, face.score, found.points + np.array((x0, y0), np.float32))


def shares(prepared: Prepared) -> Mapping[str, float]:
    """The shares of the picture that are hair and that were filled."""
    return {
        "hair_share": round(float(np.mean(prepared.mask != 0)), 4),
        "filled_share": round(float(np.mean(prepared.filled != 0)), 4),
    }
