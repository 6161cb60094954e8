"""Colours by name and by hex, in RGB and in CIE LAB; the names are those of conf/palette.yaml.

LAB is computed here in double precision from the standards' formulas: OpenCV's own conversion of float pictures goes
through a table and is off by up to 0.5, enough for a file and a table of colours to disagree.
"""

import difflib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

from visage.errors import ConfigError, VisageError

PALETTE = Path(__file__).parents[3] / "conf" / "palette.yaml"
HEX = re.compile(r"#(?:[0-9a-f]{3}){1,2}")
# sRGB's primaries as XYZ of D65 (IEC 61966-2-1), and that white.
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = TO_XYZ.sum(axis=1)
# Each number of a colour's LAB in the file may be off by so much, which is below what 8 bits can show.
ROUNDED = 0.01


@dataclass(frozen=True)
class Color:
    """A colour. name: as asked for. hex: "#rrggbb". rgb: 0 to 255. lab: CIE L* of 0 to 100, a*, b*, for D65."""

    name: str
    hex: str
    rgb: tuple[int, int, int]
    lab: tuple[float, float, float]


def parse_color(text: str, palette: Path = PALETTE) -> Color:
    """A colour of the palette by its name ("dark_brown", "Dark brown"), or any by "#rrggbb" or "#rgb".

    Raises:
        VisageError: neither; the message has the nearest names.
        ConfigError: the palette cannot be used (see `load_palette`).
    """
    asked = text.strip().lower()
    if HEX.fullmatch(asked):
        return _from_hex(asked, asked)
    colours = load_palette(palette)
    name = re.sub(r"[\s-]+", "_", asked)
    if name in colours:
        return colours[name]
    near = difflib.get_close_matches(name, colours, n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(near)}" if near else f"known are {', '.join(colours)}"
    raise VisageError(f"unknown colour {text!r}: {remedy}; or give one as '#d4a54a'")


@cache
def load_palette(path: Path = PALETTE) -> dict[str, Color]:
    """The named colours in the file's order; the file is read once.

    Raises:
        ConfigError: the file is missing, is no table of names with hex and lab, or a hex and a lab are not one colour.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: unreadable ({error.strerror}): give the colour as '#d4a54a'") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{path}: not readable as YAML ({reason}): restore it from git") from None
    if not isinstance(entries, dict) or not entries:
        raise ConfigError(f"{path}: no colours: give each as a name with hex and lab")
    return {str(name): _entry(str(name), entry, path) for name, entry in entries.items()}


def srgb_to_lab(rgb: ArrayLike) -> NDArray[np.float64]:
    """sRGB of 0 to 255, (..., 3) -> CIE L*a*b* of 1976 for D65, float64 (..., 3)."""
    shares = np.asarray(rgb, np.float64) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    ratio = linear @ TO_XYZ.T / WHITE
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1)


def delta_e(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """The distance of LAB colours (..., 3), CIE76: about 2.3 is just noticeable."""
    return np.linalg.norm(np.asarray(one, np.float64) - np.asarray(other, np.float64), axis=-1)


def _entry(name: str, entry: Any, path: Path) -> Color:
    if not isinstance(entry, dict) or set(entry) != {"hex", "lab"} or not HEX.fullmatch(str(entry["hex"]).lower()):
        raise ConfigError(f'{path}: {name}: give it as {{hex: "#d4a54a", lab: [L, a, b]}}')
    colour = _from_hex(name, str(entry["hex"]).lower())
    exact = [round(value, 2) for value in colour.lab]
    try:
        agrees = np.shape(entry["lab"]) == (3,) and np.allclose(entry["lab"], colour.lab, rtol=0, atol=ROUNDED)
    except (TypeError, ValueError):
        agrees = False
    if not agrees:
        raise ConfigError(f"{path}: {name}: lab {entry['lab']} is not that of {colour.hex}: write {exact}")
    return colour


def _from_hex(name: str, text: str) -> Color:
    digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
    red, green, blue = (int(digits[at : at + 2], 16) for at in (0, 2, 4))
    lightness, a, b = srgb_to_lab((red, green, blue)).tolist()
    return Color(name, f"#{digits}", (red, green, blue), (lightness, a, b))
