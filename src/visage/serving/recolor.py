"""A picture file in, the same picture with its hair in another colour out.

A PNG keeps every byte of what is not hair; a JPEG is coded anew and keeps it only to the eye. Everything that can be
refused is refused before the network runs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visage.errors import VisageError
from visage.io.atomic import write_bytes
from visage.io.images import encode_jpeg, encode_png, read_image
from visage.serving.segmenter import HAIR, Laps, Segmenter
from visage.serving.store import OutputStore
from visage.vision.palette import Color, parse_color
from visage.vision.recolor import DEFAULT, INTENSITY, Recipe, check_intensity, check_mask, hair_alpha, recolor

ENCODERS = {".png": encode_png, ".jpg": encode_jpeg, ".jpeg": encode_jpeg}


@dataclass(frozen=True)
class Recolored:
    """path: what was written. share: of the picture's pixels that were coloured, 0 where no hair was found.
    model_version: of the network that found the hair, None where a mask was given. timings: milliseconds by step."""

    path: Path
    color: Color
    share: float
    model_version: str | None
    timings: dict[str, float]


def recolor_file(
    image: Path | str,
    color: str,
    out: Path | str | OutputStore,
    *,
    intensity: float = INTENSITY,
    mask: Path | str | None = None,
    skin: Path | str | None = None,
    model: Path | str = HAIR,
    size: int | None = None,
    closer: bool = False,
    segmenter: Segmenter | None = None,
    recipe: Recipe = DEFAULT,
) -> Recolored:
    """Write `image` with its hair in `color`.

    color: a name of conf/palette.yaml, or "#rrggbb". out: a .png or .jpg file, or a store, which gets a PNG. mask,
    skin: pictures of the same size, white where hair or skin is, grey where in part. model, size, closer: of the
    `Segmenter` that finds the hair where no mask is given; segmenter: one that is open already.

    Raises:
        VisageError: a colour, a file or the model cannot be used, or `out` would take the place of what is read.
    """
    target, laps = parse_color(color), Laps()
    check_intensity(intensity)
    if not isinstance(out, OutputStore):
        check_out(Path(out), [Path(path) for path in (image, mask, skin) if path is not None])
    finder = (segmenter or Segmenter(model, size=size, closer=closer)) if mask is None else None
    pixels = read_image(image)
    laps.lap("decode")
    shade = None if skin is None else read_mask(skin, pixels)
    version, timings = None, {}
    coverage: NDArray[np.uint8] | NDArray[np.float32]
    if finder is None:
        assert mask is not None
        coverage = read_mask(mask, pixels)
    else:
        found = finder.segment(pixels)
        if found.label != HAIR:
            raise VisageError(f"{finder.model}: finds {found.label}, not hair: give a hair model or a mask")
        coverage, version, timings = found.alpha, found.model_version, found.timings
    laps.lap("mask")
    colored = recolor(pixels, coverage, target, intensity=intensity, skin=shade, recipe=recipe)
    share = float(np.count_nonzero(hair_alpha(coverage, shade, recipe)) / coverage.size)
    laps.lap("recolor")
    path = write_picture(colored, out)
    laps.lap("write")
    return Recolored(path, target, share, version, {**timings, **laps.milliseconds})


def read_mask(path: Path | str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey picture as coverage of `image`, HxW uint8 of 0 to 255.

    Raises:
        VisageError: not a picture, a coloured one, of another size, or of the values 0 and 1.
    """
    pixels = read_image(path)
    if (pixels != pixels[..., :1]).any():
        raise VisageError(f"{path}: is coloured, a mask is grey: 0 outside, 255 inside")
    coverage = np.ascontiguousarray(pixels[..., 0])
    check_mask(str(path), coverage, image)
    return coverage


def check_out(out: Path, read: list[Path]) -> None:
    """Refuse an output that no picture can be written to, or that would take the place of what is `read`.

    Raises:
        VisageError: names it.
    """
    if out.suffix.lower() not in ENCODERS:
        raise VisageError(f"{out}: unknown suffix: name a file that ends in {', '.join(ENCODERS)}")
    if out.is_dir():
        raise VisageError(f"{out}: is a folder: name a file in it")
    for path in read:
        if out.exists() and path.exists() and out.samefile(path):
            raise VisageError(f"{out}: is the input {path}: name another file for the output")


def write_picture(image: NDArray[np.uint8], out: Path | str | OutputStore) -> Path:
    """Write `image`, H x W x 3 RGB, as what `out` ends in, or into a store; returns where.

    Raises:
        VisageError: it cannot be written there.
    """
    try:
        if isinstance(out, OutputStore):
            return out.path(out.put(encode_png(image)))
        return write_bytes(out, ENCODERS[Path(out).suffix.lower()](image))
    except OSError as error:
        place = out.folder if isinstance(out, OutputStore) else out
        raise VisageError(f"{place}: cannot be written ({error.strerror}): choose another place") from None
