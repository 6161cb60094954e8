"""Picture files read without decoding: format, size, orientation, and whether the file is whole.

Everything is decided from the bytes before a decoder allocates anything: the size, because a 30 kB PNG can claim
60000x60000 pixels, and the end of the file, because decoders fill what a truncated file lacks with grey or black.
The walkers follow ITU T.81 (JPEG), the W3C PNG specification, RFC 9649 (WebP) and the Windows BITMAPINFO headers.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from visage.errors import BadImageError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ORIENTATION_TAG = 0x0112
# In JPEG scan data FF00 is a stuffed byte and FFD0-FFD7 are restart marks; any other FFxx ends the scan.
END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
OTHER_FORMATS = {
    "GIF": lambda data: data[:4] == b"GIF8",
    "TIFF": lambda data: data[:4] in (b"II*\0", b"MM\0*"),
    "HEIC": lambda data: data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"),
    "AVIF": lambda data: data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis"),
    "JPEG 2000": lambda data: data[4:8] == b"jP  ",
    "PDF": lambda data: data[:5] == b"%PDF-",
}


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself; width and height in pixels as stored, before `orientation` is applied."""

    format: str
    width: int
    height: int
    orientation: int = 1


def read_header(data: bytes, name: str) -> Header:
    """The header of a whole JPEG, PNG, WebP or BMP file.

    Raises:
        BadImageError: the bytes are empty, of another format, truncated or damaged; one line that begins with `name`.
    """
    if not data:
        raise BadImageError(f"{name}: empty file (0 bytes): copy it again")
    walker = _walker(data)
    if walker is None:
        kind = next((kind for kind, matches in OTHER_FORMATS.items() if matches(data)), None)
        if kind:
            raise BadImageError(f"{name}: {kind} is not read: convert it to JPEG or PNG")
        raise BadImageError(f"{name}: not an image: expected a JPEG, PNG, WebP or BMP file")
    try:
        header = walker(data, name)
    except (struct.error, IndexError):  # a header field lies beyond the end of the file
        raise BadImageError(f"{name}: truncated file (ends in its header): export it again") from None
    if header.width <= 0 or header.height <= 0:
        raise BadImageError(f"{name}: damaged {header.format} (no size in its header): export it again")
    return header


def _walker(data: bytes) -> Callable[[bytes, str], Header] | None:
    if data[:2] == b"\xff\xd8":
        return _jpeg
    if data[:8] == PNG_SIGNATURE:
        return _png
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp
    if data[:2] == b"BM" and len(data) > 18 and data[15:18] == b"\0\0\0":  # the header size, below 256
        return _bmp
    return None


def _jpeg(data: bytes, name: str) -> Header:
    width = height = 0
    orientation, position, scanned = 1, 2, False
    while (position := data.find(b"\xff", position)) >= 0 and position + 1 < len(data):
        marker = data[position + 1]
        position += 1 if marker == 0xFF else 2  # a marker may be padded with FF bytes
        if marker == 0xD9:
            if not (scanned and width):
                raise BadImageError(f"{name}: damaged JPEG (no picture in it): export it again")
            return Header("JPEG", width, height, orientation)  # what follows (phones add videos) is not looked at
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 3)
        elif marker == 0xE1 and data[position + 2 : position + 8] == b"Exif\0\0":
            orientation = _orientation(data[position + 8 : position + length])
        position += length
        if marker == 0xDA:
            end = END_OF_SCAN.search(data, position)
            if end is None:
                break
            position, scanned = end.start(), True
    raise BadImageError(f"{name}: truncated JPEG (no end marker): export it again")


def _png(data: bytes, name: str) -> Header:
    view = memoryview(data)
    width = height = 0
    orientation, position = 1, len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        body = view[position + 8 : position + 8 + length]
        position += 12 + length
        if position > len(data):
            break
        # A lower-case first letter marks a chunk the picture does not need; a fault there is no fault of the picture.
        if kind[:1].isupper() and zlib.crc32(body, zlib.crc32(kind)) != struct.unpack_from(">I", data, position - 4)[0]:
            raise BadImageError(f"{name}: damaged PNG (wrong checksum): export it again")
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", body)
        elif kind == b"eXIf":
            orientation = _orientation(bytes(body))
        elif kind == b"acTL":
            raise BadImageError(f"{name}: animated PNG: export one frame")
        elif kind == b"IEND":
            return Header("PNG", width, height, orientation)
    raise BadImageError(f"{name}: truncated PNG (no end chunk): export it again")


def _webp(data: bytes, name: str) -> Header:
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    width = height = 0
    orientation, position = 1, 12
    while position + 8 <= min(end, len(data)):
        kind, length = struct.unpack_from("<4sI", data, position)
        body = data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
        if kind == b"ANIM":
            raise BadImageError(f"{name}: animated WebP: export one frame")
        if kind == b"VP8 ":
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", body, 6))
        elif kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", body, 1)
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        elif kind == b"EXIF":
            orientation = _orientation(body.removeprefix(b"Exif\0\0"))
    if len(data) < end or position < end or not width:
        raise BadImageError(f"{name}: truncated WebP (shorter than its header says): export it again")
    return Header("WebP", width, height, orientation)


def _bmp(data: bytes, name: str) -> Header:
    offset, header_size = struct.unpack_from("<II", data, 10)
    if header_size == 12:
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
        compression = stored = 0
    else:
        width, height, _, depth, compression, stored = struct.unpack_from("<iiHHII", data, 18)
        height = abs(height)  # negative: stored from the top down
    run_length_coded = compression in (1, 2)
    size = stored if run_length_coded else (width * depth + 31) // 32 * 4 * height
    if len(data) < offset + size:
        raise BadImageError(f"{name}: truncated BMP (shorter than its header says): export it again")
    return Header("BMP", width, height)


def _orientation(tiff: bytes) -> int:
    """The EXIF orientation, 1 to 8, of a TIFF block; 1 where there is none or the block is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass  # metadata nobody needs must not cost a good picture
    return 1
