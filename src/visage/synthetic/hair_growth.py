"""Growing guide strands: roots inside the hairline, combed along the style's flow, pulled by gravity, kept out of
head and body.

A few hundred guides are integrated together, one NumPy step for all of them; everything fine (locks, curl, frizz) is
added to copies of them in `hair_strands.py`. Gravity points down in the picture, not in the head, so a tilted head
hangs its hair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visage.synthetic.noise import Array, smoothstep, stream
from visage.synthetic.people import HairStyle, Person
from visage.synthetic.sessions import Wash
from visage.synthetic.solid import Solid

_STEPS = 23
# y below which no root grows, by angle from the nose (degrees): forehead, temple, sideburn, over the ear, nape.
_HAIRLINE = (
    (0, 28, 46, 60, 70, 78, 86, 94, 104, 122, 150, 180),
    (0.0, 0.0, 0.05, 0.20, 0.40, 0.72, 0.86, 0.62, 0.80, 1.22, 1.42, 1.44),
)


@dataclass(frozen=True)
class Guides:
    """`path` (G, P, 3) points in the head's frame, evenly spaced; `layer` (G,) 0 inner .. 1 outer; `length` (G,)
    units; `fringe` (G,) bool."""

    path: Array
    layer: Array
    length: Array
    fringe: Array


def _unit(v: Array) -> Array:
    return v / (np.sqrt(np.einsum("...i,...i->...", v, v))[..., None] + np.float32(1e-6))


def _roots(style: HairStyle, head: Solid, rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Evenly spread roots (G, 3) inside the hairline and the angle (G,) from the nose, degrees."""
    i = np.arange(count, dtype=np.float32)
    heights = np.linspace(head.top, 0.78, 400)
    cells = ((heights - head.top) / (head.bottom - head.top) * (len(head.width) - 1)).astype(int)
    across = head.width[cells] + head.back[cells]
    area = np.cumsum(across * np.hypot(np.gradient(heights), np.gradient(0.5 * across)))
    y = np.interp((i + 0.5) / count, area / area[-1], heights).astype(np.float32)
    angle = (i * np.float32(2.399963) + rng.normal(0, 0.12, count)) % (2 * np.pi)
    rows = ((y - head.top) / (head.bottom - head.top) * (len(head.width) - 1)).astype(int)
    depth = np.where(np.cos(angle) > 0, head.front[rows], head.back[rows])
    point = np.stack((head.width[rows] * np.sin(angle), y, depth * np.cos(angle)), -1).astype(np.float32)
    degrees = np.abs((np.rad2deg(angle) + 180) % 360 - 180)
    line = -0.74 + style.hairline + np.interp(degrees, *_HAIRLINE) + rng.normal(0, 0.018, count)
    if style.length == "short":
        line = line - 0.24 * np.exp(-np.square((degrees - 106) / 17))  # cut round the ear
    if style.loss == "receding":
        line = line - 0.24 * np.exp(-np.square((degrees - 42) / 20))
    keep = y < line
    if style.loss == "bald":
        keep &= (y > -0.32 + rng.normal(0, 0.05, count)) & (degrees > 66)
    return point[keep], degrees[keep].astype(np.float32)


def _reach(style: HairStyle, wash: Wash, rng: np.random.Generator, root: Array, fringe: Array) -> tuple[Array, Array]:
    """Longest arc (G,) and the y (G,) at which scissors stop each guide."""
    n = len(root)
    noise = rng.normal(0, 1, n).astype(np.float32)
    layered = 0.05 if style.curl == "straight" else 0.12
    arc, cut = np.full(n, 4.0, np.float32), np.full(n, 9.0, np.float32)
    tight = style.curl == "tightly curly"
    if style.length == "short" or style.loss != "none":
        top = 0.06 + 0.34 * style.reach**1.5 + wash.trim * 0.5
        if style.loss in ("bald", "thinning"):
            top = min(top, 0.14)
        sides = np.clip((0.05 - root[:, 1]) / 0.75, 0.16, 1)
        arc = np.maximum(top * (0.7 if tight else 1.0) * sides * (1 + 0.15 * noise), 0.045).astype(np.float32)
    elif tight:
        arc = np.float32({"bob": 0.42, "medium": 0.62, "long": 0.85}[style.length] + wash.trim) * (1 + 0.08 * noise)
    else:
        low = {"bob": 0.70 + 0.35 * style.reach, "medium": 1.20 + 0.45 * style.reach, "long": 1.95 + 0.8 * style.reach}[
            style.length
        ]
        cut = np.float32(low + wash.trim) + layered * noise
    edge = 0.3 if style.length == "short" else 2.2  # a fringe runs into the hair beside the face, if there is any
    if tight:
        arc = np.where(fringe, 1.15 * arc, arc)
    elif style.bangs == "full":
        arc = np.where(fringe, 1.2, arc)
        cut = np.where(
            fringe,
            -0.26
            + 0.05 * np.clip(wash.restyle, -1, 1.5)
            + 0.035 * noise
            + 0.5 * np.square(root[:, 0])
            + edge * np.maximum(np.abs(root[:, 0]) - 0.44, 0),
            cut,
        )
    elif style.bangs == "side":
        arc = np.where(fringe, np.minimum(np.maximum(arc, 0.75), 0.95 + 0.08 * noise), arc)
    return arc.astype(np.float32), cut.astype(np.float32)


def _part(style: HairStyle, wash: Wash) -> float:
    """x of the parting; "left" is the person's left, image right."""
    return {"left": 0.26, "middle": 0.0, "right": -0.26, "none": 0.0}[style.parting] + 0.03 * wash.restyle


def _flow(style: HairStyle, part: Array, root: Array, point: Array, normal: Array, fringe: Array) -> Array:
    """Direction (G, 3) in which the style is combed at `point`, before it is laid onto the scalp."""
    side = np.where(root[:, 0] > part, 1.0, -1.0).astype(np.float32)
    up = np.clip(-normal[:, 1], 0, 1)
    behind = np.clip(-root[:, 2] * 1.5, 0, 1)
    flow = np.zeros_like(point)
    if style.parting != "none":
        front = np.clip(root[:, 2] * 2 - 0.6, 0, 1) * (point[:, 1] < -0.5)  # off the forehead before it falls
        flow[:, 0] = side * (0.04 + up + 0.6 * front) * (1 - 0.5 * behind)
        flow[:, 1] = 1.0 - 0.6 * up - 0.6 * front
        flow[:, 2] = -0.15 - 0.35 * style.tuck - 0.5 * behind * up
    elif style.length == "short" and style.reach > 0.45:
        sweep = np.float32((style.tuck - 0.5) * 2)
        flow[:, 0] = sweep * up * 1.2 + 0.2 * point[:, 0]
        flow[:, 1] = 0.9 - 1.05 * up
        flow[:, 2] = 0.55 * up - 0.5 * behind
    else:
        flow[:, 0] = 0.5 * point[:, 0] * up
        flow[:, 1] = 0.8 - 0.9 * up
        flow[:, 2] = -0.9 * up - 0.35
    if style.bangs == "full":
        onward = np.stack((0.35 * root[:, 0], 1.1 - up, 0.25 + 1.1 * up), -1)
        flow = np.where(fringe[:, None], onward, flow)
    elif style.bangs == "side":
        away = -1.0 if style.parting == "left" or (style.parting != "right" and style.tuck > 0.5) else 1.0
        onward = np.stack((np.full(len(root), away), 0.55 - 0.35 * up, 0.15 + 0.5 * up), -1)
        flow = np.where(fringe[:, None], onward, flow)
    return flow.astype(np.float32)


def grow(person: Person, wash: Wash, head: Solid, body: Solid, down: Array, count: int) -> Guides:
    """Guides of the person's style on the session's wash; `down` is the picture's downward direction in the head's
    frame."""
    style, rng = person.hair, stream(wash.seed, 51)
    root, degrees = _roots(style, head, rng, count)
    n = len(root)
    fringe = (
        (root[:, 1] < -0.5)
        & (root[:, 2] > 0.12)
        & (degrees < (72 if style.bangs == "full" else 62))
        & (style.bangs != "none")
    )
    arc, cut = _reach(style, wash, rng, root, fringe)
    layer = rng.random(n).astype(np.float32)
    part = (_part(style, wash) + rng.normal(0, 0.03, n)).astype(np.float32)
    tight, curly = style.curl == "tightly curly", style.curl == "curly"
    body_of_curl = {"straight": 0.075, "wavy": 0.10, "curly": 0.12, "tightly curly": 0.10}[style.curl]
    strand = {"thin": 0.7, "normal": 1.0, "thick": 1.25}[style.strand]
    hover = (0.015 + layer * body_of_curl * (0.5 + 0.8 * style.volume) * wash.volume * strand).astype(np.float32)
    hover = np.minimum(hover, 0.02 + 0.5 * arc)
    afro = tight or (style.length == "short" and style.reach < 0.25 and style.bangs == style.loss == "none")
    weight = np.float32(0.10 if tight else (0.5 if curly else 0.6))
    side = np.where(root[:, 0] > part, 1.0, -1.0).astype(np.float32)
    clear = (0.68 * person.shape.cheek / 0.7 + 0.16 * (0.5 - style.tuck) * rng.random(n)).astype(np.float32)
    ahead = root[:, 2] + rng.normal(0, 0.12, n) > (-0.05 + 0.5 * (style.volume - 0.5))
    loose = 0.16 if tight else (0.045 if curly else (0.09 if style.length == "short" else 0.035))
    brow = (0.6 * np.clip(root[:, 2] * 2, 0, 1) * ~fringe).astype(np.float32)
    wander = rng.standard_normal((n, 3), np.float32) * np.float32(loose)

    longest = float(min(arc.max(), 4.0)) if n else 1.0
    step = np.float32(
        min(longest, max(float(cut.max()) + 1.6, 0.3)) / _STEPS if n and cut.max() < 5 else longest / _STEPS
    )
    point, path = root.copy(), [root]
    turn = np.float32(np.clip(step / 0.05, 0.6, 2.5))  # bending is per length, not per step
    normal, gap = head.hug(root)
    heading = _unit(normal * 0.5 + _unit(_flow(style, part, root, point, normal, fringe)))
    full = hover
    for k in range(_STEPS):
        if not afro:  # flatter round the upper corners of the head, which would look square
            hover = full * (np.float32(0.55) + np.float32(0.45) * smoothstep(-0.95, -0.2, point[:, 1]))
        lying = np.exp(-np.square(np.maximum(gap - hover, 0) / 0.13))[:, None]
        if afro:
            pull = normal * np.float32(0.9) + down * weight * np.float32(0.4 + k / _STEPS)
            pull[:, 1] -= brow  # above the forehead it stands up and back instead of hanging over the eyes
            heading = _unit(np.float32(0.8) * heading + np.float32(0.35) * pull + wander)
        else:
            flow = _unit(_flow(style, part, root, point, normal, fringe))
            flow = flow - normal * np.minimum(np.einsum("ij,ij->i", flow, normal), 0)[:, None]
            pull = lying * flow * np.float32(0.8) + down * weight * (1.2 - lying) + wander
            above = gap - hover
            near = above * np.exp(-np.square(np.maximum(above, 0) / 0.3)) * np.float32(1.2)
            heading = _unit(heading * np.float32(0.75) + pull * turn - normal * near[:, None])
        # Hair that is not a fringe keeps off the middle of the face.
        point = point + heading * step
        face = (point[:, 2] > 0.1) & (point[:, 1] > -0.60) & ~fringe & (side * point[:, 0] < clear)
        point[:, 0] += np.where(face, np.clip(0.45 * (side * clear - point[:, 0]), -2 * step, 2 * step), 0)
        heading[:, 0] = np.where(face, side * np.clip(side * heading[:, 0], 0.05, 0.3), heading[:, 0])
        normal, gap = head.hug(point)
        push = np.clip(hover * np.float32(min(1.0, (k + 1) / 4)) - gap, 0, 2 * step + np.float32(0.02))
        if not afro:  # nor may it fly off the crown as a rope of its own
            push -= np.float32(0.7) * np.maximum(gap - hover - np.float32(0.05), 0) * (point[:, 1] < 0.3)
        point += normal * push[:, None]
        gap += push
        low = point[:, 1] > 1.1
        if low.any():
            z, floor = point[low, 2], body.front_z(point[low, 0], point[low, 1]) + 0.03 + 0.5 * hover[low]
            point[low, 2] = np.where(
                ahead[low],
                np.maximum(z, np.minimum(floor, z + 0.12)),
                np.minimum(z, np.maximum(-0.5 - hover[low], z - 0.12)),
            )
        path.append(point)
    return _trim(np.stack(path, 1), arc, cut, step, layer, fringe)


def _trim(path: Array, arc: Array, cut: Array, step: np.float32, layer: Array, fringe: Array) -> Guides:
    """Cut each guide at its arc or height and spread its points evenly again."""
    n, p, _ = path.shape
    below = path[:, :, 1] > cut[:, None]
    below[:, :3] = False
    first = np.where(below.any(1), below.argmax(1), p - 1).astype(np.float32)
    last = np.minimum(first, np.maximum(arc / step, 0.6))
    at = np.linspace(0, 1, p, dtype=np.float32)[None, :] * last[:, None]
    low = np.minimum(at.astype(int), p - 2)
    t = (at - low)[..., None]
    rows = np.arange(n)[:, None]
    even = path[rows, low] * (1 - t) + path[rows, low + 1] * t
    length = np.sqrt(np.square(np.diff(even, axis=1)).sum(-1)).sum(1)
    return Guides(even.astype(np.float32), layer, length.astype(np.float32), fringe)
