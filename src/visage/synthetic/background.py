"""What is behind the person: nine families of backdrops, painted at low resolution and defocused.

Two of them are there to make segmentation earn its score: `fur` (strokes in hair colours) and `clutter` (busy shapes
in skin and hair tones).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from visage.synthetic.light import Light
from visage.synthetic.noise import Array, fractal, linear, mix, smoothstep, stream
from visage.synthetic.people import HAIR_COLOURS, SKIN_TONES
from visage.synthetic.sessions import Session, View

Image = Array
_SIDE = 160
_PAINTERS: dict[str, Callable[[np.random.Generator], tuple[Image, float]]] = {}


def _painter(
    draw: Callable[[np.random.Generator], tuple[Image, float]],
) -> Callable[[np.random.Generator], tuple[Image, float]]:
    _PAINTERS[draw.__name__.strip("_")] = draw
    return draw


def _hue(rng: np.random.Generator, low: float = 15, high: float = 230, saturation: float = 0.5) -> Image:
    value, s = rng.uniform(low, high), rng.beta(1.3, 2) * saturation * 2
    wheel = np.clip(np.abs((rng.random() * 6 + np.array((0, 4, 2))) % 6 - 3) - 1, 0, 1)
    return linear(tuple(value * (1 - np.clip(s, 0, 1) * (1 - wheel))))


def _blank(colour: Image) -> Image:
    return np.broadcast_to(colour, (_SIDE, _SIDE, 3)).astype(np.float32)


def _grid() -> tuple[Image, Image]:
    axis = (np.arange(_SIDE, dtype=np.float32) + 0.5) / _SIDE
    return axis[None, :] + 0 * axis[:, None], axis[:, None] + 0 * axis[None, :]


@_painter
def _studio(rng: np.random.Generator) -> tuple[Image, float]:
    x, y = _grid()
    spot = np.exp(
        -(np.square(x - rng.uniform(0.2, 0.8)) + np.square(y - rng.uniform(0.2, 0.7))) / rng.uniform(0.08, 0.4)
    )
    shade = 0.45 + 0.75 * spot + 0.10 * fractal(rng, (_SIDE, _SIDE), (4, 4), 4)
    return _hue(rng, saturation=0.3) * shade[..., None], 0.004


@_painter
def _gradient(rng: np.random.Generator) -> tuple[Image, float]:
    x, y = _grid()
    angle = rng.uniform(0, 2 * np.pi)
    t = np.clip(0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle), 0, 1)
    return mix(_hue(rng), _hue(rng), smoothstep(0, 1, t)), 0.004


def _boxes(rng: np.random.Generator, image: Image, count: int, palette: Callable[[], Image], big: float) -> None:
    for _ in range(count):
        w, h = rng.uniform(0.03, big, 2) * _SIDE
        x, y = rng.uniform(-0.1, 1.0, 2) * _SIDE
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), palette().tolist(), -1)


@_painter
def _room(rng: np.random.Generator) -> tuple[Image, float]:
    image = _blank(_hue(rng, 70, 225, 0.25)) * (0.85 + 0.3 * _grid()[0][..., None] * rng.uniform(-1, 1))
    image = np.ascontiguousarray(image, np.float32)
    floor = int(rng.uniform(0.6, 0.95) * _SIDE)
    image[floor:] = _hue(rng, 30, 140, 0.3)
    _boxes(rng, image, int(rng.integers(3, 9)), lambda: _hue(rng, 20, 220, 0.35), 0.35)
    if rng.random() < 0.5:
        x, y, w = rng.uniform(0, 0.8) * _SIDE, rng.uniform(-0.1, 0.3) * _SIDE, rng.uniform(0.15, 0.4) * _SIDE
        for i in range(2):
            cv2.rectangle(
                image,
                (int(x + i * w * 0.55), int(y)),
                (int(x + i * w * 0.55 + w * 0.5), int(y + w * 1.4)),
                (1.3, 1.35, 1.45),
                -1,
            )
    if rng.random() < 0.5:
        shelf = int(rng.uniform(0.1, 0.6) * _SIDE)
        x = 0
        while x < _SIDE:
            width, tall = int(rng.integers(2, 8)), int(rng.integers(12, 26))
            cv2.rectangle(image, (x, shelf - tall), (x + width, shelf), _hue(rng, 20, 200, 0.5).tolist(), -1)
            x += width + 1
    return image, float(rng.uniform(0.008, 0.03))


@_painter
def _bokeh(rng: np.random.Generator) -> tuple[Image, float]:
    image = _blank(_hue(rng, 8, 70)) * (1 + 0.6 * fractal(rng, (_SIDE, _SIDE), (3, 3), 3))[..., None]
    image = np.maximum(image, 0.004)
    for _ in range(int(rng.integers(15, 60))):
        (cx, cy), radius = rng.random(2) * _SIDE, rng.uniform(0.01, 0.06) * _SIDE
        x0, y0, side = max(0, int(cx - radius) - 1), max(0, int(cy - radius) - 1), int(2 * radius) + 4
        part = image[y0 : y0 + side, x0 : x0 + side]
        disc = np.zeros(part.shape[:2], np.uint8)
        cv2.circle(disc, (int((cx - x0) * 8), int((cy - y0) * 8)), int(radius * 8), 255, -1, cv2.LINE_AA, 3)
        colour = _hue(rng, 150, 255, 0.5) * np.float32(rng.uniform(0.1, 0.9) / 255)
        part += disc.astype(np.float32)[..., None] * colour
    return image, 0.006


@_painter
def _foliage(rng: np.random.Generator) -> tuple[Image, float]:
    leaf = fractal(rng, (_SIDE, _SIDE), (12, 12), 4, 0.75)
    depth = fractal(rng, (_SIDE, _SIDE), (3, 3), 2)
    green, dark = linear((rng.uniform(70, 190), rng.uniform(120, 200), rng.uniform(30, 90))), linear((22, 34, 18))
    image = mix(dark, green, smoothstep(-0.5, 0.8, leaf + 0.7 * depth))
    sky = smoothstep(0.35, 0.75, fractal(rng, (_SIDE, _SIDE), (8, 8), 3) - _grid()[1] * 0.5 + 0.15)
    return mix(image, _blank(np.array((0.8, 0.95, 1.1), np.float32)), sky * np.float32(rng.random())), float(
        rng.uniform(0.004, 0.02)
    )


@_painter
def _wall(rng: np.random.Generator) -> tuple[Image, float]:
    x, y = _grid()
    base = _hue(rng, 40, 215, 0.35)
    rows, ratio = rng.uniform(7, 16), rng.uniform(0.25, 0.6)
    row = np.floor(y * rows)
    u, v = (x * rows * ratio + 0.5 * (row % 2)) % 1, (y * rows) % 1
    joint = np.maximum(
        smoothstep(0.06, 0.0, np.minimum(u, 1 - u) / ratio), smoothstep(0.10, 0.02, np.minimum(v, 1 - v))
    )
    shade = (
        1
        + 0.25 * fractal(rng, (_SIDE, _SIDE), (20, 20), 3)
        + 0.15 * np.sin(row * 17 + np.floor(x * rows * ratio + 0.5 * (row % 2)) * 31)
    )
    strength = joint * (rng.random() < 0.6)
    return mix(base * shade[..., None], _hue(rng, 90, 200, 0.1), strength.astype(np.float32)), float(
        rng.uniform(0.002, 0.012)
    )


@_painter
def _street(rng: np.random.Generator) -> tuple[Image, float]:
    image = np.ascontiguousarray(mix(_hue(rng, 140, 240, 0.25), _hue(rng, 50, 140, 0.2), _grid()[1]))
    for _ in range(int(rng.integers(5, 12))):
        w, x, top = rng.uniform(0.05, 0.25) * _SIDE, rng.uniform(-0.1, 1) * _SIDE, rng.uniform(0, 0.6) * _SIDE
        colour = _hue(rng, 30, 190, 0.3)
        cv2.rectangle(image, (int(x), int(top)), (int(x + w), _SIDE), colour.tolist(), -1)
        for wy in np.arange(top + 5, _SIDE, 9):
            for wx in np.arange(x + 3, x + w - 3, 7):
                cv2.rectangle(
                    image,
                    (int(wx), int(wy)),
                    (int(wx + 3), int(wy + 4)),
                    (colour * np.float32(rng.uniform(0.4, 2.2))).tolist(),
                    -1,
                )
    return image, float(rng.uniform(0.006, 0.025))


@_painter
def _fur(rng: np.random.Generator) -> tuple[Image, float]:
    names = list(HAIR_COLOURS)
    base = linear(HAIR_COLOURS[names[int(rng.integers(len(names)))]])
    image = np.ascontiguousarray(_blank(base * 0.5))
    lean, wave = rng.uniform(-1.2, 1.2), rng.uniform(0, 0.6)
    k = np.linspace(0, 1, 8)
    for _ in range(14):
        start = rng.uniform(-0.15, 1.1, (60, 1, 2))
        angle = np.pi / 2 + lean + wave * np.sin(start[..., 0] * 9) + rng.normal(0, 0.25, (60, 1))
        path = start + np.stack((np.cos(angle + wave * k), np.sin(angle + wave * k)), -1) * (
            k[:, None] * rng.uniform(0.1, 0.3)
        )
        colour = base * np.float32(rng.uniform(0.25, 1.7))
        cv2.polylines(image, list((path * _SIDE).astype(np.int32)), False, colour.tolist(), 1)
    return image, float(rng.uniform(0.0, 0.006))


@_painter
def _clutter(rng: np.random.Generator) -> tuple[Image, float]:
    tones = [*SKIN_TONES, *HAIR_COLOURS.values()]

    def pick() -> Image:
        return linear(tones[int(rng.integers(len(tones)))]) if rng.random() < 0.5 else _hue(rng, 15, 235, 0.8)

    image = np.ascontiguousarray(_blank(pick()))
    _boxes(rng, image, 14, pick, 0.3)
    for _ in range(16):
        centre, axes = tuple(int(v) for v in rng.uniform(0, _SIDE, 2)), tuple(int(v) for v in rng.uniform(3, 26, 2))
        cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, pick().tolist(), -1)
    return image, float(rng.uniform(0.001, 0.012))


def draw_background(session: Session, view: View, light: Light, size: int) -> Image:
    """Linear HxWx3 float32 backdrop of the session, shifted a little with the view's yaw and crop as a real one
    would."""
    rng = stream(session.background_seed, 31)
    image, blur = _PAINTERS[session.background](rng)
    level = np.float32(rng.uniform(0.5, 1.3) * 0.75 / light.exposure)
    shift = (
        np.array((view.yaw * 0.12 + view.shift[0] * 0.5, -view.pitch * 0.12 + view.shift[1] * 0.5)) * _SIDE
    ).astype(np.float32)
    zoom = np.float32(0.86 * _SIDE / size)  # the rest of the backdrop is margin for the shift
    half = np.float32(_SIDE / 2)
    matrix = np.array(
        ((zoom, 0, half - zoom * size / 2 - shift[0]), (0, zoom, half - zoom * size / 2 - shift[1])), np.float32
    )
    image = np.clip(image, 0.002, 3).astype(np.float32)
    if blur * _SIDE > 0.35:
        image = cv2.GaussianBlur(image, (0, 0), blur * _SIDE)
    tint = 0.5 + 0.5 * np.asarray(light.sky, np.float32) / max(light.sky)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT) * tint * level
