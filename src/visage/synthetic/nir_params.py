"""Who wears the headset and what one frame shows: the sampled numbers behind a near-infrared eye.

What belongs to a wearer (anatomy, greys, headset, sensor) is drawn once per subject and only what moves is drawn per
frame, so a split by subject keeps whole appearances apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from visage.synthetic.nir_geometry import HEIGHT, WIDTH, Lids, Wearer, visible_share
from visage.synthetic.nir_sensor import Sensor, tone
from visage.synthetic.noise import stream

MIN_CONTRAST = 6.0
MIN_VISIBLE = 0.15
# Shares of subjects beyond OpenEDS: eye photographs from other cameras (a larger eye), pupils dilated in the dark.
CLOSE_UP, DILATED = 0.1, 0.13
DIM, BRIGHT = 0.4, 0.12


@dataclass(frozen=True)
class Greys:
    """Scene greys 0..255 before the sensor, and 0..1 strengths of what modulates them."""

    skin: float
    sclera: float
    iris: float
    pupil: float
    skin_texture: float
    iris_texture: float
    limbal_ring: float
    collarette: float
    lid_shadow: float
    socket: float
    shine: float
    pupil_edge: float
    limbus_edge: float


@dataclass(frozen=True)
class Hairs:
    """Lashes and brow: counts, lengths in pixels, `shade` relative to skin, `lift` +1 up .. -1 hanging over the eye."""

    upper: int
    lower: int
    upper_length: float
    lower_length: float
    shade: float
    lift: float
    clump: float
    brow: bool
    brow_row: float


@dataclass(frozen=True)
class Lamps:
    """LED ring: angles in radians, ring radius in iris radii, glint sigma and ring offset in pixels, peak grey."""

    angles: tuple[float, ...]
    ring: float
    squash: float
    sigma: float
    peak: float
    offset: tuple[float, float]


@dataclass(frozen=True)
class Headset:
    """Lens edge (`radius` 0 for none; centre, radius, softness in pixels), Fresnel rings, illumination, glasses."""

    centre: tuple[float, float]
    radius: float
    softness: float
    dark: float
    fresnel: float
    period: float
    gradient: tuple[float, float]
    unevenness: float
    glasses: bool
    border: int


@dataclass(frozen=True)
class Subject:
    """One wearer. `side` is +1 with the nose on the right of the picture, -1 on the left."""

    seed: int
    subject: int
    side: int
    wearer: Wearer
    greys: Greys
    hairs: Hairs
    lamps: Lamps
    headset: Headset
    sensor: Sensor
    texture_seed: int


@dataclass(frozen=True)
class Frame:
    """One exposure. Gaze in radians (right and down positive), slip in pixels, `opening` 1 for relaxed lids, 0 closed;
    `motion` is (length in pixels, angle in radians), length 0 for none."""

    frame: int
    yaw: float
    pitch: float
    dilation: float
    slip: tuple[float, float]
    opening: float
    exposure: float
    motion: tuple[float, float]
    starburst: bool
    noise_seed: int

    @property
    def blink(self) -> bool:
        return self.opening == 0


def sample_subject(seed: int, subject: int) -> Subject:
    """The wearer `subject` (>= 0) of the population `seed` (>= 0)."""
    rng = stream(seed, 11, subject)
    side = 1 if rng.random() < 0.5 else -1
    wearer = _wearer(rng, side)
    greys, sensor = _greys(rng), _sensor(rng)
    while tone(greys.iris, sensor) - tone(greys.pupil, sensor) < MIN_CONTRAST / _darkest_light(greys):
        greys, sensor = _greys(rng), _sensor(rng)
    return Subject(
        seed, subject, side, wearer, greys, _hairs(rng), _lamps(rng), _headset(rng), sensor, int(rng.integers(2**31))
    )


def sample_frame(seed: int, subject: Subject, frame: int) -> Frame:
    """Frame `frame` (>= 0) of a wearer; unless it is a blink, lids and gaze that hide nearly all of the
    pupil are eased until it shows."""
    rng = stream(seed, 12, subject.subject, frame)
    degree = np.pi / 180
    sample = Frame(
        frame,
        yaw=float(np.clip(rng.normal(0, 15), -32, 32) * degree),
        pitch=float(np.clip(rng.normal(3, 13), -28, 28) * degree),
        dilation=float(np.exp(rng.normal(0, 0.08))),
        slip=(float(rng.normal(0, 5)), float(rng.normal(0, 5))),
        opening=float(np.clip(rng.normal(0.95, 0.1), 0.7, 1.2) * (rng.uniform(0.35, 0.8) if rng.random() < 0.1 else 1)),
        exposure=float(np.exp(rng.normal(0, 0.06))),
        motion=(float(rng.uniform(3, 13) if rng.random() < 0.15 else 0), float(rng.uniform(0, np.pi))),
        starburst=bool(rng.random() < 0.06),
        noise_seed=int(rng.integers(2**31)),
    )  # fmt: skip
    if rng.random() < 0.04:
        return replace(sample, opening=0.0)
    while visible_share(subject.wearer, sample) < MIN_VISIBLE:
        # A wider opening alone would not do for an eye turned down behind its lower lid.
        sample = replace(sample, opening=sample.opening + 0.05, pitch=0.9 * sample.pitch)
    return sample


def _wearer(rng: np.random.Generator, side: int) -> Wearer:
    iris = float(np.clip(rng.normal(95, 6), 78, 112) * rng.uniform(0.9, 1.12))
    if close_up := rng.random() < CLOSE_UP:
        iris = float(rng.uniform(106, 132))
    ratio = np.clip(rng.lognormal(np.log(0.265), 0.19), 0.17, 0.5)
    if rng.random() < (0.4 if close_up else DILATED):
        ratio = rng.uniform(0.38, 0.58)
    lids = Lids(
        half_width=float(rng.uniform(1.75, 2.5)), upper=float(rng.uniform(0.35, 1.05)),
        lower=float(rng.uniform(0.45, 0.85)), tilt=float(rng.uniform(-0.12, 0.12)),
        skew=float(side * rng.uniform(-0.05, 0.22)), upper_power=float(rng.uniform(0.65, 1.05)),
        lower_power=float(rng.uniform(0.8, 1.3)), crease=float(rng.uniform(0.15, 0.6)),
        follow_upper=float(rng.uniform(0.6, 0.95)), follow_lower=float(rng.uniform(0.2, 0.6)),
        bulge=float(rng.uniform(0, 0.07)),
    )  # fmt: skip
    degree = np.pi / 180
    return Wearer(
        iris, float(ratio), (float(rng.normal(0, 0.02)), float(rng.normal(0, 0.02))),
        (float(np.clip(rng.normal(325, 28), 235, 415)), float(np.clip(rng.normal(220, 25), 150, 290))), lids,
        camera_yaw=float(np.clip(rng.normal(0, 9), -20, 20) * degree), camera_tilt=float(rng.uniform(-8, 14) * degree),
    )  # fmt: skip


def _greys(rng: np.random.Generator) -> Greys:
    kind = rng.random()
    if kind < DIM:  # OpenEDS-2020: everything between 30 and 80, the pupil about 20 below the iris
        skin = rng.uniform(50, 110)
        sclera, iris = skin * rng.uniform(0.75, 1.0), skin * rng.uniform(0.58, 0.85)
        pupil = iris - rng.uniform(8, 32)
    elif kind < DIM + BRIGHT:  # close-up cameras: skin near saturation, the iris far below the sclera
        skin = rng.uniform(160, 250)
        sclera, iris = skin * rng.uniform(0.65, 0.95), skin * rng.uniform(0.3, 0.6)
        pupil = rng.uniform(8, 50)
    else:
        skin = rng.uniform(60, 190)
        sclera, iris = skin * rng.uniform(0.7, 1.15), skin * rng.uniform(0.42, 0.85)
        pupil = rng.uniform(20, 70) if rng.random() < 0.2 else rng.uniform(5, 45)
    iris = min(iris, 0.95 * sclera)
    return Greys(
        skin=float(skin), sclera=float(sclera), iris=float(iris), pupil=float(np.clip(pupil, 3, max(iris - 8, 3))),
        skin_texture=float(rng.uniform(0.01, 0.075)), iris_texture=float(0.02 + 0.2 * rng.uniform(0, 1) ** 1.5),
        limbal_ring=float(rng.uniform(0, 0.3)), collarette=float(rng.uniform(-0.12, 0.2)),
        lid_shadow=float(rng.uniform(0.1, 0.5)), socket=float(rng.uniform(0.0, 0.45)),
        shine=float(rng.uniform(0, 1) ** 2), pupil_edge=float(rng.uniform(3.5, 8.5)),
        limbus_edge=float(rng.uniform(9, 36)),
    )  # fmt: skip


def _darkest_light(greys: Greys) -> float:
    """How far shading may lower the contrast in the render: the lid's shadow, and light that falls off sideways."""
    return 0.6 * (1 - 0.35 * greys.lid_shadow)


def _sensor(rng: np.random.Generator) -> Sensor:
    return Sensor(
        gain=float(rng.uniform(0.6, 1.5)), gamma=float(rng.uniform(0.7, 1.4)), blur=float(rng.uniform(0.5, 2.2)),
        noise=float(np.exp(rng.uniform(np.log(0.8), np.log(6)))), shot=float(rng.uniform(0, 0.35)),
        jpeg_quality=int(rng.integers(55, 96)) if rng.random() < 0.15 else 0,
    )  # fmt: skip


def _hairs(rng: np.random.Generator) -> Hairs:
    return Hairs(
        upper=int(rng.integers(15, 91)), lower=int(rng.integers(5, 41)), upper_length=float(rng.uniform(14, 68)),
        lower_length=float(rng.uniform(8, 26)), shade=float(rng.uniform(0.1, 0.6)),
        lift=float(np.clip(rng.normal(0.45, 0.5), -1, 1)), clump=float(rng.uniform(0, 1)),
        brow=bool(rng.random() < 0.35), brow_row=float(rng.uniform(-15, 45)),
    )  # fmt: skip


def _lamps(rng: np.random.Generator) -> Lamps:
    count, start = int(rng.integers(1, 17)), rng.uniform(0, 2 * np.pi)
    arc = 2 * np.pi if rng.random() < 0.6 else rng.uniform(1.2, 4.5)
    angles = start + arc * (np.arange(count) + rng.normal(0, 0.08, count)) / count
    return Lamps(
        tuple(float(a) for a in angles), ring=float(rng.uniform(0.3, 0.8)), squash=float(rng.uniform(0.6, 1.0)),
        sigma=float(rng.uniform(0.7, 2.6)), peak=float(rng.uniform(120, 420)),
        offset=(float(rng.normal(0, 10)), float(rng.normal(4, 12))),
    )  # fmt: skip


def _headset(rng: np.random.Generator) -> Headset:
    lens, angle, slope = rng.random() < 0.55, rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35)
    return Headset(
        centre=(float(WIDTH / 2 + rng.normal(0, 25)), float(HEIGHT / 2 + rng.normal(0, 25))),
        radius=float(rng.uniform(270, 420)) if lens else 0.0, softness=float(rng.uniform(2, 30)),
        dark=float(rng.uniform(0.05, 0.5)), fresnel=float(max(rng.uniform(-2, 4), 0)) if lens else 0.0,
        period=float(rng.uniform(5, 9)), gradient=(float(slope * np.cos(angle)), float(slope * np.sin(angle))),
        unevenness=float(rng.uniform(0, 0.16)), glasses=bool(rng.random() < 0.13),
        border=int(rng.integers(4, 36)) if rng.random() < 0.05 else 0,
    )  # fmt: skip
