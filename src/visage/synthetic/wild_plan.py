"""What spoils one picture as real photographs are spoilt: every choice of a wild picture, drawn before any pixel is.

A plan comes from its own stream of (seed, source, view), whatever the share of wild pictures: the wild pictures of a
small share are among those of a larger one, and plans can be counted without drawing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from visage.synthetic.light import direction, temperature
from visage.synthetic.noise import stream
from visage.synthetic.people import HAIR_COLOURS, Person
from visage.synthetic.sessions import Clothes, Session, View

HATS = ("beanie", "cap", "brim", "headband", "turban", "hood")
PROPS = ("hand", "arm", "object", "scarf")
# How often each happens among wild pictures, independently unless `_exclude` says otherwise. Sizes of the head come
# first: photographs of people are mostly not portraits, and their letterboxed copies show heads of 30 pixels.
ODDS: dict[str, float] = {
    "tight": 0.12, "far": 0.34, "tilt": 0.22, "side": 0.24, "back": 0.04, "bars": 0.30,
    "bald": 0.07, "shaved": 0.03, "buzz": 0.10, "updo": 0.14,
    "grey": 0.12, "dyed": 0.08, "ombre": 0.05, "streaks": 0.05, "sheen": 0.12,
    "hat": 0.16, "hand": 0.08, "arm": 0.06, "object": 0.06, "scarf": 0.05, "glasses": 0.06,
    "busy": 0.70, "camouflage": 0.14, "company": 0.08, "dark": 0.16, "suit": 0.18,
    "backlight": 0.12, "rim": 0.10, "shadow": 0.10, "over": 0.06, "under": 0.08, "murk": 0.04, "cast": 0.12,
    "mono": 0.06, "faded": 0.06, "sharp": 0.12, "blur": 0.10, "lowres": 0.08, "noise": 0.08, "jpeg": 0.10,
}  # fmt: skip
_EXCLUDE = (  # of each group at most the first that came stays
    ("tight", "far"), ("back", "side"), ("bald", "shaved", "buzz", "updo"), ("bald", "dyed", "ombre", "streaks"),
    ("shaved", "dyed", "ombre", "streaks"), ("grey", "dyed", "ombre"), ("backlight", "rim", "shadow"),
    ("over", "under", "murk"), ("blur", "sharp", "lowres"), ("hand", "arm", "object"), ("mono", "cast"),
    ("backlight", "murk"), ("suit", "dark"),
)  # fmt: skip
_DYES = ((196, 60, 120), (70, 90, 180), (60, 130, 120), (120, 70, 160), (190, 50, 40), (226, 200, 160), (110, 190, 90),
         (230, 140, 170), (235, 228, 215))  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """`tags` in the order of ODDS; `hat` one of HATS or "none"; `dye` the sRGB of dyed hair; `seed` of everything
    drawn under this plan."""

    tags: tuple[str, ...]
    hat: str
    dye: tuple[int, int, int]
    seed: int

    def has(self, tag: str) -> bool:
        """Whether the picture is spoilt in this way."""
        return tag in self.tags

    def stream(self, purpose: int) -> np.random.Generator:
        """The generator of one purpose, independent of all others."""
        return stream(self.seed, 62, purpose)

    @property
    def bald(self) -> bool:
        """Whether there is no hair to see, so that the mask is empty."""
        return self.has("bald") or self.has("shaved")


def sample_plan(seed: int, source: int, view: int, wild: float) -> Plan | None:
    """The plan of a picture, None where it stays as `visage.synthetic.portrait` draws it (share 1 - `wild`)."""
    rng = stream(seed, 61, source, view)
    if rng.random() >= wild:
        return None
    came = {tag for (tag, odds), u in zip(ODDS.items(), rng.random(len(ODDS)), strict=True) if u < odds}
    for group in _EXCLUDE:
        for late in [tag for tag in group if tag in came][1:]:
            came.discard(late)
    hat = str(rng.choice(HATS, p=(0.22, 0.24, 0.18, 0.12, 0.08, 0.16))) if "hat" in came else "none"
    red, green, blue = np.clip(np.array(_DYES[int(rng.integers(len(_DYES)))]) + rng.normal(0, 14, 3), 8, 250).astype(
        int
    )
    tags = tuple(tag for tag in ODDS if tag in came)
    return Plan(tags, hat, (int(red), int(green), int(blue)), int(rng.integers(2**31)))


def plan_person(person: Person, plan: Plan) -> Person:
    """The person as on this picture: same face, hair cut, pinned up or gone grey, glasses put on."""
    rng, hair = plan.stream(1), person.hair
    if plan.has("buzz") or plan.has("shaved"):
        reach = float(rng.uniform(0, 0.35)) if plan.has("buzz") else 0.0
        hair = replace(hair, length="short", bangs="none", parting="none", reach=reach, volume=0.3, loss="none")
    if plan.has("updo"):
        curl = hair.curl if hair.curl in ("straight", "wavy") else "wavy"
        hair = replace(hair, length="short", bangs="none", parting="none", reach=float(rng.uniform(0.5, 1)),
                       volume=0.1, curl=curl, loss="none")  # fmt: skip
    if plan.has("grey"):
        hair = replace(hair, colour=str(rng.choice(("grey", "white"))), grey=float(rng.uniform(0.4, 1)))
    glasses = str(rng.choice(("round", "rectangular"))) if plan.has("glasses") else person.glasses
    return replace(person, hair=hair, glasses=glasses)


def plan_view(view: View, plan: Plan) -> View:
    """Crop and pose: scale and place of the head, turned and tipped as people are."""
    rng = plan.stream(2)
    degree = np.pi / 180
    scale, x, y = float(rng.uniform(0.17, 0.30)), float(rng.normal(0, 0.08)), float(rng.normal(0, 0.05))
    if plan.has("tight"):
        scale, x, y = float(rng.uniform(0.30, 0.44)), float(rng.normal(0, 0.06)), float(rng.normal(0.0, 0.05))
    if plan.has("far"):
        scale = float(np.exp(rng.uniform(np.log(0.045), np.log(0.17))))
        x, y = float(rng.normal(0, 0.14)), float(rng.uniform(-0.5 + 1.6 * scale, 0.05))
    yaw = view.yaw
    if plan.has("side"):
        yaw = float(rng.choice((-1, 1)) * rng.uniform(30, 100) * degree)
    if plan.has("back"):
        yaw = float(rng.uniform(115, 245) * degree)
    if plan.has("bars"):
        x *= 0.5
    room = 0.5 - min(0.42, scale)
    return replace(
        view, yaw=yaw, pitch=float(np.clip(rng.normal(0, 9), -24, 20) * degree), roll=view.roll * 1.3, scale=scale,
        shift=(float(np.clip(x, -room, room)), float(np.clip(y, -0.42, 0.30))),
        blur=view.blur * float(rng.choice((0.3, 1.0))),
    )  # fmt: skip


def plan_session(session: Session, person: Person, plan: Plan) -> Session:
    """Light and clothes: lamps behind the head, hard sun, dark cloth or cloth of the hair's colour."""
    rng, light, clothes = plan.stream(3), session.light, session.clothes
    side = float(rng.choice((-1, 1)))
    if plan.has("backlight"):
        light = replace(
            light, key_dir=direction(side * float(rng.uniform(1.9, 2.6)), float(rng.uniform(0.1, 0.8))),
            rim_dir=direction(-side * float(rng.uniform(2.0, 2.8)), float(rng.uniform(0.1, 0.7))),
            rim=temperature(float(rng.uniform(-0.3, 0.8)), float(rng.uniform(1.5, 3.5))),
        )  # fmt: skip
    elif plan.has("rim"):
        light = replace(
            light, rim_dir=direction(side * float(rng.uniform(1.8, 2.5)), float(rng.uniform(0.2, 0.9))),
            rim=temperature(float(rng.uniform(-0.6, 0.8)), float(rng.uniform(1.5, 3.0))),
        )  # fmt: skip
    elif plan.has("shadow"):
        light = replace(light, key_dir=direction(side * float(rng.uniform(0.2, 1.3)), float(rng.uniform(0.4, 1.2))),
                        softness=0.02, key=temperature(float(rng.uniform(0, 0.6)), 1.3))  # fmt: skip
    if plan.has("dark") or plan.has("suit"):
        clothes = _dark_clothes(clothes, person, plan, rng)
    contrast = session.contrast * float(np.exp(rng.normal(0, 0.1)))
    return replace(session, light=light, clothes=clothes, contrast=contrast)


def _dark_clothes(clothes: Clothes, person: Person, plan: Plan, rng: np.random.Generator) -> Clothes:
    """Black, navy or the hair's own colour: what touches hair and could be taken for it."""
    tint = rng.uniform(12, 46) + rng.normal(0, 5, 3) + np.array((0, 0, 12)) * rng.random()
    if not plan.has("suit") and rng.random() < 0.35:
        tint = np.array(HAIR_COLOURS[person.hair.colour], float) * rng.uniform(0.6, 1.1)
    red, green, blue = np.clip(tint, 4, 240).astype(int)
    first = (int(red), int(green), int(blue))
    second = (225, 226, 230) if rng.random() < 0.3 else (int(red * 0.7), int(green * 0.7), int(blue * 0.7))
    cut = "jacket" if plan.has("suit") else str(rng.choice(("jacket", "crew", "shirt", "turtleneck", "vee")))
    return Clothes(cut, "plain", (first, second), clothes.seed)
