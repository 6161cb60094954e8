"""The one image decoder: JPEG, PNG, WebP or BMP bytes in, HxWx3 uint8 RGB out, or one line that names the fault.

It needs only numpy and OpenCV, so that an exported model decodes as its training did. What decoders leave open is
decided here, and `DECODER` names the decision in every key: EXIF orientation is applied once, here and not by
OpenCV; 16 bits become 8 by division by 257, rounded; alpha is laid over white (a BMP's fourth byte is padding and
ignored); CMYK is taken as inverted, as Adobe, Pillow and the browsers do; colour profiles are ignored; animations
are refused, since which frame is meant is not ours to guess.
"""

from pathlib import Path

import cv2
import numpy as np

from visage.errors import BadImageError
from visage.io.headers import read_header

DECODER = f"visage-1+opencv-{cv2.__version__}"
MAX_PIXELS = 120_000_000  # above every phone and camera of today; 360 MB decoded
MAX_FILE_BYTES = 1 << 30


def decode(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a picture file's bytes.

    Args:
        data: the whole file.
        name: what to call it in messages, usually its path inside the data set.
        max_pixels: larger pictures are refused from their header, before any memory is taken for them.

    Returns:
        HxWx3 uint8 RGB, contiguous, upright.

    Raises:
        BadImageError: empty, not a picture, of a format not read, truncated, damaged, animated or too large.
    """
    header = read_header(data, name)
    if header.width * header.height > max_pixels:
        raise BadImageError(
            f"{name}: too many pixels ({header.width}x{header.height}, at most {max_pixels}): make it smaller"
        )
    has_alpha = header.format in ("PNG", "WebP")
    flags = cv2.IMREAD_UNCHANGED if has_alpha else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        stored = None
    if stored is None or stored.shape[:2] != (header.height, header.width):
        raise BadImageError(f"{name}: damaged {header.format} (it does not decode): export it again")
    return np.ascontiguousarray(_upright(_to_rgb(stored), header.orientation))


def read_image(path: Path | str, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read and `decode` one file; `name` (default: the path) is what messages call it.

    Raises:
        BadImageError: as `decode`, and for a file that cannot be read.
    """
    name = str(path) if name is None else name
    return decode(read_file(path, name), name, max_pixels=max_pixels)


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
