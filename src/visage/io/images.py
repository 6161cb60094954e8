"""The one image decoder: JPEG, PNG, WebP or BMP bytes in, HxWx3 uint8 RGB out, or one line that names the fault.

It needs only numpy and OpenCV, so that an exported model decodes as its training did. What decoders leave open is
decided here, and `DECODER` names the decision in every key: EXIF orientation is applied once, here and not by
OpenCV; 16 bits become 8 by division by 257, rounded; alpha is laid over white (a BMP's fourth byte is padding and
ignored); CMYK is taken as inverted, as Adobe, Pillow and the browsers do; colour profiles are ignored; animations
are refused, since which frame is meant is not ours to guess; a JPEG that will be made smaller is decoded at the
smallest of its four scales that is large enough, which is 2 to 3 times faster and differs by a grey level.
"""

from pathlib import Path

import cv2
import numpy as np

from visage.errors import BadImageError
from visage.io.headers import Header, read_header

DECODER = f"visage-2+opencv-{cv2.__version__}"
MAX_PIXELS = 120_000_000  # above every phone and camera of today; 360 MB decoded
MAX_FILE_BYTES = 1 << 30
# libjpeg's scales by what they divide the sides by (rounded up), the smallest picture first.
REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


def decode(
    data: bytes, name: str, *, max_pixels: int = MAX_PIXELS, at_least: tuple[int, int] | None = None
) -> np.ndarray:
    """Decode a picture file's bytes.

    Args:
        data: the whole file.
        name: what to call it in messages, usually its path inside the data set.
        max_pixels: larger pictures are refused from their header, before any memory is taken for them.
        at_least: (height, width) in pixels, upright, that the caller will resize to: a JPEG may come out at a half, a
            quarter or an eighth of its size (rounded up) where neither side falls below it; see `_fits`.

    Returns:
        HxWx3 uint8 RGB, contiguous, upright.

    Raises:
        BadImageError: empty, not a picture, of a format not read, truncated, damaged, animated or too large.
    """
    return _decode(data, name, max_pixels, at_least)[0]


def read_image(
    path: Path | str,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    at_least: tuple[int, int] | None = None,
) -> np.ndarray:
    """Read and `decode` one file; `name` (default: the path) is what messages call it.

    Raises:
        BadImageError: as `decode`, and for a file that cannot be read.
    """
    name = str(path) if name is None else name
    return decode(read_file(path, name), name, max_pixels=max_pixels, at_least=at_least)


def read_sized(path: Path | str, at_least: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    """`read_image`, and the picture's own upright (height, width), which `at_least` leaves unknown otherwise.

    Raises:
        BadImageError: as `read_image`.
    """
    image, header = _decode(read_file(path, str(path)), str(path), MAX_PIXELS, at_least)
    return image, _turned(header.height, header.width, header.orientation)


def read_file(path: Path | str, name: str) -> bytes:
    """A picture file's bytes.

    Raises:
        BadImageError: the file is missing, is no regular file, may not be read, or is larger than 1 GiB.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise BadImageError(f"{name}: not a file: give a picture file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadImageError(f"{name}: larger than 1 GiB: make it smaller")
        return path.read_bytes()
    except OSError as error:
        raise BadImageError(f"{name}: unreadable ({error.strerror}): check the path and its permissions") from None


def encode_png(image: np.ndarray) -> bytes:
    """Encode HxWx3 uint8 RGB (or HxW uint8) as PNG; the same bytes for the same picture and OpenCV version."""
    return _encode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 4])


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """Encode HxWx3 uint8 RGB (or HxW uint8) as a baseline 4:2:0 JPEG of `quality` 1 to 100, without metadata."""
    return _encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _decode(data: bytes, name: str, max_pixels: int, at_least: tuple[int, int] | None) -> tuple[np.ndarray, Header]:
    header = read_header(data, name)
    if header.width * header.height > max_pixels:
        raise BadImageError(
            f"{name}: too many pixels ({header.width}x{header.height}, at most {max_pixels}): make it smaller"
        )
    scale = _scale(header, at_least)
    if header.format in ("PNG", "WebP"):  # these may have alpha
        flags = cv2.IMREAD_UNCHANGED
    else:
        flags = REDUCED.get(scale, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        stored = None
    if stored is None or stored.shape[:2] != (-(-header.height // scale), -(-header.width // scale)):
        raise BadImageError(f"{name}: damaged {header.format} (it does not decode): export it again")
    return np.ascontiguousarray(_upright(_to_rgb(stored), header.orientation)), header


def _scale(header: Header, at_least: tuple[int, int] | None) -> int:
    """The divisor of a JPEG's sides: the largest that leaves an upright picture of `at_least`; 1 for all else."""
    if header.format != "JPEG" or at_least is None:
        return 1
    wanted = _turned(*at_least, header.orientation)
    sides = list(zip((header.height, header.width), wanted, strict=True))
    return next((scale for scale in REDUCED if all(_fits(side, least, scale) for side, least in sides)), 1)


def _fits(side: int, least: int, scale: int) -> bool:
    """Whether a side may be divided by `scale`: large enough, and its content stays in place.

    Where the division is not exact, the last pixel holds padding, and stretching to `least` pixels moves the content by
    up to least * padding / side of them. Real portraits of odd sizes differed by up to 5 grey levels in the mean then;
    allowing a quarter of a pixel, by less than 2, and 0.6 on average.
    """
    padding = -side % scale
    return -(-side // scale) >= least and 4 * padding * least <= side


def _turned(height: int, width: int, orientation: int) -> tuple[int, int]:
    """(height, width) as stored from upright ones, or the other way round."""
    return (width, height) if orientation >= 5 else (height, width)


def _encode(suffix: str, image: np.ndarray, options: list[int]) -> bytes:
    assert image.dtype == np.uint8, image.dtype
    assert image.ndim == 2 or image.shape[2:] == (3,), image.shape
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, buffer = cv2.imencode(suffix, stored, options)
    assert done, suffix
    return buffer.tobytes()


def _to_rgb(stored: np.ndarray) -> np.ndarray:
    """OpenCV's HxW, HxWx3 BGR or HxWx4 BGRA, uint8 or uint16, as HxWx3 uint8 RGB."""
    if stored.dtype == np.uint16:
        stored = ((stored.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if stored.ndim == 2:
        return cv2.cvtColor(stored, cv2.COLOR_GRAY2RGB)
    if stored.shape[2] == 3:
        return cv2.cvtColor(stored, cv2.COLOR_BGR2RGB)
    colour = cv2.cvtColor(stored, cv2.COLOR_BGRA2RGB).astype(np.uint16)
    alpha = stored[:, :, 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (CIPA DC-008, tag 0x0112): values 5 to 8 swap the axes, then flips follow."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image
