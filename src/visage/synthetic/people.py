"""Who is in the picture: face geometry, skin, features and base hair of a person, fixed by (seed, person) alone.

Lengths are in units of 10 cm in the head's frame (x to image right, y down, z to the viewer, eyes at y = 0), so the
means below are anthropometric and the spreads are widened to about 1.3 times the human ones: identity has to survive
128 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from visage.synthetic.noise import stream

CURLS = ("straight", "wavy", "curly", "tightly curly")
STRANDS = ("thin", "normal", "thick")
LENGTHS = ("short", "bob", "medium", "long")
BANGS = ("none", "full", "side")
PARTINGS = ("left", "middle", "right", "none")
HAIR_COLOURS: dict[str, tuple[int, int, int]] = {  # sRGB of a lit strand
    "black": (38, 33, 32), "dark brown": (66, 46, 36), "brown": (98, 68, 48), "reddish brown": (118, 62, 42),
    "golden brown": (150, 108, 66), "blond": (205, 168, 112), "ash brown": (118, 104, 92), "pink brown": (150, 90, 92),
    "red": (160, 74, 36), "grey": (158, 154, 150), "white": (218, 214, 208),
}  # fmt: skip
IRIS_COLOURS: dict[str, tuple[int, int, int]] = {
    "dark brown": (58, 36, 24), "brown": (96, 60, 34), "hazel": (122, 96, 52), "green": (98, 116, 72), "blue": (92,
    128, 160),
    "grey": (124, 134, 142),
}  # fmt: skip
SKIN_TONES = (
    (236, 200, 180),
    (226, 184, 156),
    (211, 162, 128),
    (188, 134, 98),
    (150, 100, 70),
    (112, 72, 49),
    (80, 51, 37),
)


@dataclass(frozen=True)
class FaceShape:
    """Face geometry in units of 10 cm; each field's (mean, spread, male minus female) is `_SHAPE`."""

    cheek: float
    jaw: float
    chin: float
    chin_y: float
    forehead: float
    crown: float
    cheekbone: float
    hollow: float
    brow_ridge: float
    eye_x: float
    eye_width: float
    eye_open: float
    eye_tilt: float
    eye_depth: float
    crease: float
    iris: float
    brow_y: float
    brow_thick: float
    brow_arch: float
    brow_slope: float
    brow_length: float
    nose_y: float
    nose_width: float
    nose_bridge: float
    nose_tip: float
    nose_bump: float
    mouth_y: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    cupid: float
    chin_bump: float
    ear: float
    ear_out: float
    neck: float
    shoulder: float


_SHAPE: dict[str, tuple[float, float, float]] = {
    "cheek": (0.705, 0.036, 0.02), "jaw": (0.84, 0.045, 0.05), "chin": (0.31, 0.045, 0.06), "chin_y": (1.13, 0.055,
    0.06),
    "forehead": (0.97, 0.04, 0.0), "crown": (1.16, 0.04, 0.02), "cheekbone": (0.05, 0.03, -0.01), "hollow": (0.03,
    0.025, 0.01),
    "brow_ridge": (0.03, 0.018, 0.03), "eye_x": (0.316, 0.022, 0.01), "eye_width": (0.152, 0.013, 0.0),
    "eye_open": (0.058, 0.011, -0.008), "eye_tilt": (0.06, 0.07, -0.02), "eye_depth": (0.085, 0.025, 0.015),
    "crease": (0.034, 0.016, -0.008), "iris": (0.060, 0.003, 0.0), "brow_y": (-0.215, 0.03, 0.035),
    "brow_thick": (0.040, 0.010, 0.014), "brow_arch": (0.040, 0.022, -0.02), "brow_slope": (0.02, 0.035, 0.0),
    "brow_length": (0.205, 0.02, 0.0), "nose_y": (0.46, 0.045, 0.02), "nose_width": (0.155, 0.022, 0.016),
    "nose_bridge": (0.062, 0.012, 0.008), "nose_tip": (0.27, 0.04, 0.03), "nose_bump": (0.0, 0.022, 0.012),
    "mouth_y": (0.735, 0.028, 0.02), "mouth_width": (0.248, 0.024, 0.012), "lip_upper": (0.050, 0.016, -0.012),
    "lip_lower": (0.074, 0.018, -0.012), "cupid": (0.25, 0.12, 0.0), "chin_bump": (0.05, 0.025, 0.01), "ear": (0.30,
    0.03, 0.02),
    "ear_out": (0.45, 0.14, 0.0), "neck": (0.525, 0.035, 0.10), "shoulder": (2.05, 0.10, 0.30),
}  # fmt: skip


@dataclass(frozen=True)
class Skin:
    """Skin: tone 0 (lightest) .. 1 (darkest), the rest 0..1 strengths; moles are (x, y, radius) in head units."""

    tone: float
    undertone: float
    redness: float
    texture: float
    oil: float
    freckles: float
    moles: tuple[tuple[float, float, float], ...]
    age: int
    lip_tint: float


@dataclass(frozen=True)
class HairStyle:
    """Base hair: categories, and amount (0..1) of loss, grey, density, clumping and volume. clarity: how far strands of
    the categories differ, 1 as in life, more for a data set that teaches them (see `visage.synthetic.hair_strands`)."""

    curl: str
    strand: str
    length: str
    bangs: str
    colour: str
    parting: str
    loss: str
    hairline: float
    volume: float
    clump: float
    grey: float
    reach: float
    tuck: float
    clarity: float = 1.0


@dataclass(frozen=True)
class Person:
    """One source. `attributes` are the labels a picture of this person carries."""

    seed: int
    person: int
    sex: str
    shape: FaceShape
    skin: Skin
    iris: str
    hair: HairStyle
    beard: str
    glasses: str
    glasses_colour: tuple[int, int, int]

    @property
    def attributes(self) -> dict[str, str | float | int]:
        hair = {
            name: getattr(self.hair, name)
            for name in ("curl", "strand", "length", "bangs", "colour", "parting", "loss")
        }
        return {
            **hair, "grey": round(self.hair.grey, 3), "sex": self.sex, "age": self.skin.age,
            "skin_tone": round(self.skin.tone, 3),
            "iris": self.iris, "beard": self.beard, "glasses": self.glasses,
        }  # fmt: skip


def _pick(rng: np.random.Generator, odds: dict[str, float]) -> str:
    weights = np.array(list(odds.values()))
    return str(rng.choice(list(odds), p=weights / weights.sum()))


def _hair(rng: np.random.Generator, male: bool, age: int, tone: float) -> HairStyle:
    curl = str(rng.choice(CURLS))
    strand = str(rng.choice(STRANDS))
    length = _pick(rng, dict(zip(LENGTHS, (0.72, 0.12, 0.1, 0.06) if male else (0.16, 0.26, 0.29, 0.29), strict=True)))
    parting = str(rng.choice(PARTINGS, p=(0.24, 0.26, 0.2, 0.3)))
    bangs = str(rng.choice(BANGS, p=(0.5, 0.25, 0.25)))
    loss = "none"
    if male and rng.random() < 0.04 + 0.008 * max(age - 25, 0):
        loss = str(rng.choice(("receding", "thinning", "bald"), p=(0.5, 0.25, 0.25)))
    if loss != "none":
        length, bangs, parting = "short", "none", "none"
    grey = float(np.clip((age - 42) / 30 + 0.25 * rng.standard_normal(), 0, 1))
    dark = {
        "black": 0.25 + tone,
        "dark brown": 0.3 + 0.5 * tone,
        "brown": 0.3,
        "reddish brown": 0.12,
        "golden brown": 0.14,
    }
    light = {"blond": 0.28 * (1 - tone), "ash brown": 0.08, "pink brown": 0.05, "red": 0.12 * (1 - tone)}
    colour = _pick(rng, dark | light)
    if grey > 0.55:
        colour = "white" if grey > 0.85 else "grey"
    return HairStyle(
        curl, strand, length, bangs, colour, parting, loss,
        hairline=float(rng.normal(0.0, 0.035) - 0.05 * (loss == "receding")), volume=float(rng.uniform(0.2, 1.0)),
        clump=float(rng.uniform(0.2, 0.9)), grey=grey, reach=float(rng.uniform(0, 1)), tuck=float(rng.uniform(0, 1)),
    )  # fmt: skip


def clearer(person: Person, clarity: float) -> Person:
    """The person with hair of that clarity."""
    return replace(person, hair=replace(person.hair, clarity=clarity))


def sample_person(seed: int, person: int) -> Person:
    """The person `person` (>= 0) of the population `seed` (>= 0). Independent of sessions and views."""
    rng = stream(seed, 1, person)
    male = bool(rng.random() < 0.5)
    sign = 0.5 if male else -0.5
    draws = np.clip(rng.standard_normal(len(_SHAPE)), -2.2, 2.2)
    shape = FaceShape(**{f.name: float(_SHAPE[f.name][0] + _SHAPE[f.name][1] * d + _SHAPE[f.name][2] * sign)
                         for f, d in zip(fields(FaceShape), draws, strict=True)})  # fmt: skip
    age = int(np.clip(rng.gamma(3.2, 8.0) + 17, 18, 80))
    tone = float(rng.beta(1.1, 1.5))
    spots = rng.random((rng.integers(0, 6), 3))
    moles = tuple((float(x * 1.1 - 0.55), float(y * 1.3 - 0.4), float(0.008 + 0.014 * r)) for x, y, r in spots)
    skin = Skin(
        tone, float(rng.normal()), float(rng.uniform(0, 1)), float(rng.uniform(0.3, 1)), float(rng.uniform(0, 1)),
        float(rng.uniform(0.3, 1) if rng.random() < 0.22 * (1.2 - tone) else 0.0), moles, age,
        float(rng.uniform(0.5, 1) if not male and rng.random() < 0.4 else rng.uniform(0, 0.25)),
    )  # fmt: skip
    iris = _pick(rng, {"dark brown": 0.35 + tone, "brown": 0.35, "hazel": 0.22 * (1 - tone),
    "green": 0.18 * (1 - tone) ** 2,
                       "blue": 0.4 * (1 - tone) ** 2, "grey": 0.15 * (1 - tone) ** 2})  # fmt: skip
    hair = _hair(rng, male, age, tone)
    beard = (
        _pick(rng, {"none": 0.42, "stubble": 0.25, "moustache": 0.08, "goatee": 0.1, "full": 0.15}) if male else "none"
    )
    glasses = _pick(rng, {"none": 0.76, "round": 0.12, "rectangular": 0.12})
    frames = ((24, 22, 22), (84, 52, 30), (150, 150, 155), (120, 30, 36), (176, 140, 70))
    frame = frames[int(rng.integers(len(frames)))]
    return Person(seed, person, "male" if male else "female", shape, skin, iris, hair, beard, glasses, frame)
