"""What changes between and within capture sessions: light, hair wash, clothes, background; then view, expression,
crop, noise.

A view is drawn from its own stream keyed by all four numbers, so pictures can be made in any order and any process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visage.synthetic.light import Light, sample_light
from visage.synthetic.noise import stream

BACKGROUNDS = ("studio", "gradient", "room", "bokeh", "foliage", "wall", "street", "fur", "clutter")
NECKLINES = ("crew", "vee", "shirt", "turtleneck", "scoop", "jacket")
PATTERNS = ("plain", "plain", "knit", "stripes", "check", "print")


@dataclass(frozen=True)
class Wash:
    """State of the hair on the day; shifts are relative to the person's base hair."""

    sheen: float
    volume: float
    frizz: float
    flyaways: float
    tone: float
    trim: float
    restyle: float
    seed: int


@dataclass(frozen=True)
class Clothes:
    """Neckline, pattern and two sRGB colours."""

    neckline: str
    pattern: str
    colours: tuple[tuple[int, int, int], tuple[int, int, int]]
    seed: int


@dataclass(frozen=True)
class Session:
    """One capture session of one person."""

    session: int
    light: Light
    wash: Wash
    clothes: Clothes
    background: str
    background_seed: int
    distance: float
    noise: float
    jpeg_quality: int
    contrast: float


@dataclass(frozen=True)
class View:
    """One picture. Angles in radians, `scale` in pixels per 10 cm per pixel of picture size, offsets in fractions of
    the picture."""

    picture: int
    yaw: float
    pitch: float
    roll: float
    scale: float
    shift: tuple[float, float]
    smile: float
    mouth_open: float
    brows: float
    gaze: tuple[float, float]
    blink: float
    exposure: float
    blur: float
    noise: float
    jpeg_quality: int
    seed: int


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    value, saturation = rng.uniform(20, 235), rng.beta(1.2, 2.2)
    hue = np.abs((rng.random() * 6 + np.array((0, 4, 2))) % 6 - 3) - 1
    r, g, b = (value * (1 - saturation * (1 - np.clip(hue, 0, 1)))).astype(int)
    return int(r), int(g), int(b)


def sample_session(seed: int, person: int, session: int) -> Session:
    """Session `session` (>= 0) of a person: everything that stays the same over one sitting."""
    rng = stream(seed, 2, person, session)
    wash = Wash(
        sheen=float(rng.uniform(0.15, 1.0)), volume=float(rng.uniform(0.75, 1.3)), frizz=float(rng.uniform(0.0, 1.0)),
        flyaways=float(rng.uniform(0.1, 1.0)), tone=float(rng.normal(0, 0.07)), trim=float(rng.uniform(-0.06, 0.06)),
        restyle=float(rng.normal(0, 1)), seed=int(rng.integers(2**31)),
    )  # fmt: skip
    clothes = Clothes(
        str(rng.choice(NECKLINES)), str(rng.choice(PATTERNS)), (_colour(rng), _colour(rng)), int(rng.integers(2**31))
    )
    return Session(
        session, sample_light(rng), wash, clothes, str(rng.choice(BACKGROUNDS)), int(rng.integers(2**31)),
        distance=float(rng.uniform(7.0, 18.0)), noise=float(rng.gamma(2.0, 0.004)), jpeg_quality=int(rng.integers(62,
        97)),
        contrast=float(rng.normal(1.0, 0.08)),
    )  # fmt: skip


def sample_view(seed: int, person: int, session: int, picture: int) -> View:
    """Picture `picture` (>= 0) of a session: yaw to +-25, pitch to +-12 and roll to +-12 degrees, expression, crop,
    camera."""
    rng = stream(seed, 3, person, session, picture)
    degree = np.pi / 180
    smile = float(np.clip(rng.normal(0.25, 0.4), -0.4, 1.0))
    return View(
        picture,
        yaw=float(np.clip(rng.normal(0, 12), -25, 25) * degree), pitch=float(np.clip(rng.normal(0, 5), -12,
        12) * degree),
        roll=float(np.clip(rng.normal(0, 5), -12, 12) * degree), scale=float(rng.uniform(0.20, 0.29)),
        shift=(float(rng.normal(0, 0.025)), float(rng.normal(0, 0.02))), smile=smile,
        mouth_open=float(max(0.0, rng.normal(-0.2, 0.4)) * (0.5 + 0.5 * (smile > 0))), brows=float(rng.normal(0, 0.35)),
        gaze=(float(np.clip(rng.normal(0, 0.3), -0.8, 0.8)), float(np.clip(rng.normal(0, 0.15), -0.4, 0.4))),
        blink=float(1.0 if rng.random() < 0.03 else np.clip(rng.normal(0, 0.12), -0.2, 0.5)),
        exposure=float(np.exp(rng.normal(0, 0.06))),
        blur=float(rng.gamma(2.0, 0.22)), noise=float(rng.uniform(0.7, 1.4)), jpeg_quality=int(rng.integers(-8, 4)),
        seed=int(rng.integers(2**31)),
    )  # fmt: skip
