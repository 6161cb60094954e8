"""The embedded hair: drawn people in the layout of K-Hairstyle, its fields filled in its own Korean words.

They are written as JPEG with polygons and read back like the published set, so the embedded default takes the path that
real data takes: what is trained on is what an annotator's outline keeps of the drawn mask.
"""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from visage.hair.config import SynthesizeHair
from visage.io.khairstyle_rings import CROP, to_rings
from visage.io.khairstyle_writer import write_sample
from visage.synthetic.people import HairStyle, sample_person
from visage.synthetic.portrait import Portrait
from visage.synthetic.sessions import sample_view
from visage.synthetic.wild import WildSpec, draw_wild
from visage.synthetic.wild_plan import plan_view, sample_plan

TRAINING, VALIDATION = "training", "validation"
IN_VALIDATION = 5  # every fifth source, as roughly in the published set; preparing splits anew
FACE_POINTS = 24
FRONT = 15  # degrees to either side
LOSS = {"none": "none", "receding": "early", "thinning": "partial", "bald": "hair loss"}
BANG = {"none": "n/a", "full": "full", "side": "lightly swept"}
PARTING = {"left": "3:7", "middle": "5:5", "right": "7:3", "none": "no parting"}
COLOUR = {
    "black": "black", "dark brown": "natural brown", "brown": "natural brown", "reddish brown": "reddish brown",
    "golden brown": "golden brown", "ash brown": "ash brown", "pink brown": "pink brown",
}  # fmt: skip
# What a spoilt picture changes (tags of `visage.synthetic.wild_plan`): the colour, and what is not to be seen.
RECOLOURED = {"ombre": "ombre", "streaks": "two-tone", "dyed": "other", "grey": "other"}
BARE = ("length", "natural-curl", "hair-width", "bang", "partition", "color")
CURL = "natural-curl"
HIDDEN = {
    "bald": BARE, "shaved": BARE, "buzz": (CURL,), "updo": ("length", "bang", "partition"),
    "hat": ("bang", "partition"),
}  # fmt: skip
# Reach of short hair below which it stands on end where it is no fringe (`visage.synthetic.hair_growth.grow`), about a
# centimetre long: less than a turn of any curl but the tightest, so no annotator could name it. Where hair is lost the
# rest is cut as short.
CROPPED, CUT = 0.25, ("thinning", "bald")
STYLE = {"men's": "men regular short", "women's short": "women regular short", "bob": "bob", "medium": "other layered"}


def synthesize(settings: SynthesizeHair, *, seed: int, out: Path) -> None:
    """Draw sources 0 to `sources` - 1 of population `seed`; the same bytes for any number of worker processes.

    Args:
        settings: how many sources, views of each, pixels a side, and the share of hard pictures.
        seed: of the population.
        out: gets {training,validation}/{images,labels}/ as `visage.io.khairstyle_writer` says. What an earlier run left
            there is removed.

    Raises:
        ConfigError: a setting is out of range.
    """
    settings.check()
    for folder in (TRAINING, VALIDATION):
        shutil.rmtree(out / folder, ignore_errors=True)
    specs = [
        WildSpec(seed, source, view, settings.size, settings.wild, settings.clarity)
        for source in range(settings.sources)
        for view in range(settings.views)
    ]
    for spec, portrait in zip(specs, draw_wild(specs), strict=True):
        folder = VALIDATION if spec.source % IN_VALIDATION == IN_VALIDATION - 1 else TRAINING
        source = f"VS{spec.source + 1:06d}"
        turned = _turned(spec)
        fields = khairstyle_fields(portrait.attributes, is_cropped(sample_person(spec.seed, spec.source).hair))
        others = {
            "age": portrait.attributes["age"],
            "rgb": _mean_colour(portrait),
            "horizontal": round(turned % 360, 2),
            "front": abs(turned) <= FRONT,
            "comment": portrait.attributes["wild"],
        }
        write_sample(
            out, folder, source, spec.view + 1, portrait.image, to_rings(portrait.hair_mask),
            [_face(portrait)], fields, others,
        )  # fmt: skip
    print(f"synthesize_hair: {settings.sources} people, {len(specs)} pictures of {settings.size} px in {out}")


def khairstyle_fields(attributes: Mapping[str, str | float | int], cropped: bool = False) -> dict[str, str]:
    """A drawn picture's attributes as K-Hairstyle's fields, in English; what the picture does not show is left out.

    `length` mixes in who wears it, as the data set does. Colours that it has no word for are "other". The basestyle
    stays the person's on every picture. cropped: the person's hair is too short to show its curl.
    """
    drawn = {name: str(value) for name, value in attributes.items()}
    wild = set(drawn["wild"].split(","))
    short = {"male": "men's", "female": "women's short"}[drawn["sex"]]
    length = short if drawn["length"] == "short" else drawn["length"]
    fields = {
        "basestyle": STYLE.get(length, "one-length" if drawn["curl"] == "straight" else "hippie"),
        "basestyle-type": "short" if drawn["length"] in ("short", "bob") else "long",
        "sex": drawn["sex"],
        "length": short if "buzz" in wild else length,
        "natural-curl": drawn["curl"],
        "hair-width": drawn["strand"],
        "bang": "n/a" if "buzz" in wild else BANG[drawn["bangs"]],
        "loss": LOSS[drawn["loss"]],
        "partition": "no parting" if "buzz" in wild else PARTING[drawn["parting"]],
        "color": next((word for tag, word in RECOLOURED.items() if tag in wild), COLOUR.get(drawn["colour"], "other")),
    }
    hidden = {field for tag, names in HIDDEN.items() if tag in wild for field in names} | ({CURL} if cropped else set())
    return {field: word for field, word in fields.items() if field not in hidden}


def is_cropped(hair: HairStyle) -> bool:
    """Whether hair is too short to show its curl."""
    return hair.loss in CUT or (hair.length == "short" and hair.bangs == "none" and hair.reach < CROPPED)


def _turned(spec: WildSpec) -> float:
    """Degrees by which the head is turned, to the right of the picture; 0 looks into the camera."""
    view = sample_view(spec.seed, spec.source, spec.view, 0)
    plan = sample_plan(spec.seed, spec.source, spec.view, spec.wild)
    return math.degrees((view if plan is None else plan_view(view, plan)).yaw)


def _face(portrait: Portrait) -> np.ndarray:
    """An ellipse about the face, as an annotator outlines what is to be blurred: a ring of the crop."""
    x0, y0, x1, y1 = (value * CROP / len(portrait.image) for value in portrait.face_box)
    angles = np.arange(FACE_POINTS) * (2 * math.pi / FACE_POINTS)
    x, y = (x0 + x1) / 2 + (x1 - x0) / 2 * np.cos(angles), (y0 + y1) / 2 + (y1 - y0) / 2 * np.sin(angles)
    return np.round(np.clip(np.column_stack((x, y)), 0, CROP - 1), 2)


def _mean_colour(portrait: Portrait) -> str | None:
    """The hair's mean RGB as labels write it, a string; None without hair."""
    hair = portrait.image[portrait.hair_mask > 0]
    return str([round(float(value), 2) for value in hair.mean(axis=0)]) if len(hair) else None
