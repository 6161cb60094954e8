"""The decoder: every kind of picture people have becomes upright 8-bit RGB, every broken one a line of text."""

import io
import os
import re
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from visage.errors import BadImageError
from visage.io.images import decode, encode_jpeg, encode_png, read_image

FORMATS = ["JPEG", "PNG", "WEBP", "BMP"]
ONE_LINE = re.compile(r"^portraits/a\.jpg: [^\n]+: [^\n]+$")


def picture(height: int = 60, width: int = 80) -> np.ndarray:
    """A smooth picture without symmetry, so that lossy formats stay close and every orientation differs."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    planes = [255 * x / width, 255 * y / height, 127 + 100 * np.sin(x / 17 + y / 29)]
    return np.stack(planes, axis=2).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, body: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def refused(data: bytes, fault: str) -> None:
    with pytest.raises(BadImageError, match=fault) as caught:
        decode(data, "portraits/a.jpg")
    assert ONE_LINE.match(str(caught.value))


def close(image: np.ndarray, expected: np.ndarray, levels: float = 4) -> None:
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.shape == expected.shape
    assert np.abs(image.astype(float) - expected).mean() < levels


@pytest.mark.parametrize("kind", FORMATS)
def test_colour_comes_out_as_rgb(kind):
    close(decode(saved(Image.fromarray(picture()), kind), "a"), picture())


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_is_expanded_to_three_equal_channels(kind, mode):
    image = Image.fromarray(picture()).convert(mode)
    source = image.convert("RGB") if kind == "WEBP" else image
    result = decode(saved(source, kind), "a")
    close(result, np.array(image.convert("RGB")), 12)
    assert kind == "WEBP" or (np.ptp(result.astype(int), axis=2) == 0).all()


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_jpeg_is_read_as_pillow_and_browsers_read_it(adobe):
    data = saved(Image.fromarray(picture()).convert("CMYK"), "JPEG", quality=95)
    if not adobe:
        start = data.index(b"\xff\xee\x00\x0eAdobe")
        data = data[:start] + data[start + 16 :]
    close(decode(data, "a"), np.array(Image.open(io.BytesIO(data)).convert("RGB")), 1.5)


def test_sixteen_bits_are_divided_by_257_and_rounded():
    deep = np.arange(65536, dtype=np.uint32).reshape(256, 256).astype(np.uint16)
    expected = np.round(deep / 257).astype(np.uint8)
    grey = decode(cv2.imencode(".png", deep)[1].tobytes(), "a")
    colour = decode(cv2.imencode(".png", np.stack([deep, deep[::-1], deep], axis=2))[1].tobytes(), "a")
    np.testing.assert_array_equal(grey[..., 0], expected)
    np.testing.assert_array_equal(colour[..., 1], expected[::-1])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_laid_over_white(kind):
    alpha = np.zeros((60, 80), np.uint8)
    alpha[:, 20:], alpha[:, 50:] = 128, 255
    layered = np.dstack([picture(), alpha])
    weight = alpha[..., None] / 255
    result = decode(saved(Image.fromarray(layered), kind, lossless=True), "a")
    close(result, picture() * weight + 255 * (1 - weight), 1)


def test_palette_transparency_is_laid_over_white():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 0)
    result = decode(saved(image, "PNG", transparency=1), "a")
    assert result[0, 0].tolist() == [255, 0, 0]
    assert result[7, 7].tolist() == [255, 255, 255]


def test_the_padding_byte_of_a_32_bit_bmp_is_no_alpha():
    image = Image.fromarray(np.dstack([picture(), np.zeros((60, 80), np.uint8)]))
    close(decode(saved(image, "BMP"), "a"), picture(), 0.1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_exactly_once(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(picture()), kind, exif=exif)
    close(decode(data, "a"), np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")))


@pytest.mark.parametrize("block", [b"II*\0\xff\xff\xff\xff", b"MM", b"", b"II*\0\x08\0\0\0\xff\xff" + b"\0" * 30])
def test_damaged_exif_does_not_cost_the_picture(block):
    data = saved(Image.fromarray(picture()), "JPEG")
    segment = b"Exif\0\0" + block
    spoiled = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    close(decode(spoiled, "a"), picture())


@pytest.mark.parametrize("kind", [*FORMATS, "progressive"])
@pytest.mark.parametrize("part", [0.01, 0.1, 0.4, 0.7, 0.95, 0.999])
def test_a_truncated_file_is_never_decoded(kind, part):
    options = {"progressive": True} if kind == "progressive" else {}
    data = saved(Image.fromarray(picture(200, 300)), "JPEG" if options else kind, **options)
    refused(data[: max(1, min(int(len(data) * part), len(data) - 1))], "truncated|not an image")


def test_a_truncated_jpeg_is_named_as_such():
    data = encode_jpeg(picture(200, 300))
    refused(data[: len(data) // 2], r"truncated JPEG \(no end marker\): export it again")


def test_an_embedded_thumbnail_does_not_pass_for_the_end_of_the_picture():
    thumbnail = encode_jpeg(picture(20, 30))
    segment = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = encode_jpeg(picture())
    whole = data[:2] + segment + data[2:]
    close(decode(whole, "a"), picture())
    refused(whole[: len(whole) * 3 // 4], "truncated JPEG")


def test_bytes_after_the_end_marker_are_fine():
    data = encode_jpeg(picture())
    close(decode(data + b"\0" * 100 + data[: len(data) // 2], "a"), picture())


def test_a_wrong_checksum_in_a_png_is_found():
    data = bytearray(encode_png(picture()))
    data[len(data) // 2] ^= 0xFF
    refused(bytes(data), "damaged PNG")


def test_a_png_whose_pixels_are_missing_is_refused():
    refused(png(80, 60, b"\0" * 10), "damaged PNG")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", r"empty file \(0 bytes\)"),
        (b"these are words, not pixels", "not an image"),
        (b"GIF89a" + b"\0" * 40, "GIF is not read: convert it"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC is not read"),
        (b"\xff\xd8\xff\xd9", "damaged JPEG"),
        (png(0, 10), "damaged PNG"),
        (b"BM", "not an image"),
    ],
)
def test_what_is_no_picture_is_named(data, fault):
    refused(data, fault)


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_animations_are_refused(kind):
    frames = [Image.fromarray(picture()), Image.fromarray(picture()[::-1])]
    refused(saved(frames[0], kind, save_all=True, append_images=frames[1:]), "animated")


def test_a_bomb_is_refused_from_its_header(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    refused(png(60000, 60000), r"too many pixels \(60000x60000")
    with pytest.raises(BadImageError, match="too many pixels"):
        decode(encode_png(picture()), "a", max_pixels=60 * 80 - 1)


def test_random_damage_gives_a_picture_or_a_bad_image_error_and_nothing_else():
    rng = np.random.default_rng(0)
    for kind in FORMATS:
        data = saved(Image.fromarray(picture()), kind)
        for _ in range(60):
            spoiled = np.frombuffer(data, np.uint8).copy()
            spoiled[rng.integers(0, min(len(spoiled), 200), 3)] = rng.integers(0, 256, 3)
            try:
                result = decode(spoiled.tobytes(), "a", max_pixels=10**6)
            except BadImageError:
                continue
            assert result.ndim == 3


def test_read_image_names_the_file_and_the_fault(tmp_path):
    with pytest.raises(BadImageError, match=r"gone\.jpg: unreadable \(No such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(BadImageError, match="not a file"):
        read_image(tmp_path)
    name = tmp_path / "Zoë 人 .PNG"
    name.write_bytes(encode_png(picture()))
    np.testing.assert_array_equal(read_image(name), picture())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_unreadable(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode_png(picture()))
    path.chmod(0)
    with pytest.raises(BadImageError, match="Permission denied"):
        read_image(path)


def test_encoding_is_exact_for_png_and_repeatable_for_jpeg():
    grey = picture()[..., 0]
    np.testing.assert_array_equal(decode(encode_png(picture()), "a"), picture())
    np.testing.assert_array_equal(decode(encode_png(grey), "a")[..., 0], grey)
    assert encode_jpeg(picture()) == encode_jpeg(picture())
    assert len(encode_jpeg(picture(), 30)) < len(encode_jpeg(picture(), 95))


def test_real_photographs_decode_as_pillow_decodes_them(portraits):
    for path in sorted(portraits.iterdir()):
        close(read_image(path), np.array(ImageOps.exif_transpose(Image.open(path)).convert("RGB")), 1)
