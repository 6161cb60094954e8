"""Portraits as photographs have them: other crops, hats, hands, busy backdrops, bad light, other people, no hair.

Every layer is put on by coverage, last in front, and the labels follow: hair_mask is hair_alpha >= 128 and holds no
pixel of a hat or a hand. A picture that is not spoilt is `visage.synthetic.draw.draw` of the same person, session
`view` and picture 0; spoiling draws from streams of its own and leaves those as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from visage.synthetic.draw import Spec, draw
from visage.synthetic.ordered import draw_ordered
from visage.synthetic.people import clearer, sample_person
from visage.synthetic.portrait import Portrait
from visage.synthetic.sessions import sample_session, sample_view
from visage.synthetic.wild_camera import bars_of, take
from visage.synthetic.wild_people import compose
from visage.synthetic.wild_plan import Plan, plan_person, plan_session, plan_view, sample_plan

__all__ = ["WildSpec", "draw_wild", "draw_wild_one"]


@dataclass(frozen=True)
class WildSpec:
    """Which picture: population `seed`, person `source` and number `view` (all >= 0), `size` in pixels (>= 32), and
    the probability `wild` (0..1) that it is spoilt; clarity is that of `HairStyle`."""

    seed: int
    source: int
    view: int
    size: int
    wild: float
    clarity: float = 1.0


def draw_wild_one(spec: WildSpec) -> Portrait:
    """Draw one picture; its attributes are the person's and `wild`, the ways it is spoilt, joined by commas.

    Raises:
        ValueError: a negative number, a size below 32, or a share outside 0..1.
    """
    if not 0 <= spec.wild <= 1:
        raise ValueError(f"wild is {spec.wild}; it is a probability, so give 0 to 1")
    if min(spec.seed, spec.source, spec.view) < 0:
        raise ValueError(f"{spec} has a negative number; seeds and indices start at 0")
    if spec.size < 32:
        raise ValueError(f"size is {spec.size}; a portrait needs at least 32 pixels")
    plan = sample_plan(spec.seed, spec.source, spec.view, spec.wild)
    if plan is None:
        plain = draw(Spec(spec.seed, spec.source, spec.view, 0, spec.size, clarity=spec.clarity))
        return replace(plain, attributes={**plain.attributes, "wild": ""})
    return render_wild(spec, plan)


def render_wild(spec: WildSpec, plan: Plan) -> Portrait:
    """The picture of `spec` spoilt as `plan` says, whatever the share of such pictures."""
    size = spec.size
    person = clearer(sample_person(spec.seed, spec.source), spec.clarity)
    session = plan_session(sample_session(spec.seed, spec.source, spec.view), person, plan)
    view = plan_view(sample_view(spec.seed, spec.source, spec.view, 0), plan)
    shown = plan_person(person, plan)
    scene, (box, landmarks) = compose(shown, session, view, plan, size)
    planes = np.dstack((scene.alpha, scene.skin))
    work = planes.shape[0]
    if work != size:
        planes = cv2.resize(planes, (size, size), interpolation=cv2.INTER_AREA)
    kept = np.zeros((size, size, 1), np.float32)
    kept[bars_of(plan, size)] = 1
    planes = planes * kept
    soft = np.round(planes[..., 0] * 255).clip(0, 255).astype(np.uint8)
    mask = (soft >= 128).astype(np.uint8)
    skin = ((planes[..., 1] >= 0.5) & (soft < 128)).astype(np.uint8)
    by = size / work
    return Portrait(
        take(scene.image, session, view, plan, size), mask, soft, skin,
        (box[0] * by, box[1] * by, box[2] * by, box[3] * by), landmarks * np.float32(by),
        {**person.attributes, "wild": ",".join(plan.tags)},
    )  # fmt: skip


def draw_wild(specs: Sequence[WildSpec], workers: int | None = None) -> Iterator[Portrait]:
    """Pictures in the order of `specs`, the same bytes for any number of worker processes; see
    `visage.synthetic.ordered.draw_ordered`."""
    return draw_ordered(draw_wild_one, specs, workers)
