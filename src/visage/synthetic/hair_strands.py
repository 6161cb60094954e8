"""From guides to strands: copies in locks, with curl, frizz and stray hairs.

Curl is a helix about the guide whose phase belongs to the lock and jitters from strand to strand: equal phases would
give ribbons, free phases a fog, and it is the ratio of the two that separates curly from frizzy. Clear hair (clarity
above 1) waves wider, with the root of the clarity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from visage.synthetic.hair_growth import Guides
from visage.synthetic.noise import Array, smoothstep, stream
from visage.synthetic.people import Person
from visage.synthetic.sessions import Wash

# radius and pitch of the helix (units), phase jitter between strands of a lock (radians), points per turn
_CURL = {
    "straight": (0.004, 0.60, 0.8, 6),
    "wavy": (0.035, 0.40, 0.55, 9),
    "curly": (0.052, 0.22, 0.75, 9),
    "tightly curly": (0.030, 0.085, 1.6, 6),
}

_CLUMP = {
    "straight": 0.4,
    "wavy": 0.5,
    "curly": 0.55,
    "tightly curly": 0.0,
}  # how far locks may draw together at the tips


@dataclass(frozen=True)
class Strands:
    """`path` (N, P, 3) in the head's frame, `layer`, `tint`, `stray` (N,): depth in the hair 0..1, colour noise, True
    for flyaways."""

    path: Array
    layer: Array
    tint: Array
    stray: Array


def _resample(path: Array, points: int) -> Array:
    at = np.linspace(0, path.shape[1] - 1, points, dtype=np.float32)
    low = np.minimum(at.astype(int), path.shape[1] - 2)
    t = (at - low)[None, :, None]
    return path[:, low] * (1 - t) + path[:, low + 1] * t


def _frame(path: Array) -> tuple[Array, Array]:
    """Two unit vectors across each point of (N, P, 3) paths: away from the head, and sideways."""
    tangent = np.gradient(path, axis=1)
    away = path - np.array((0.0, 0.0, -0.1), np.float32)
    away[..., 1] = np.minimum(path[..., 1] + 0.3, 0)
    side = _across(tangent, away)
    return _across(side, tangent), side


def _across(a: Array, b: Array) -> Array:
    """Unit vectors along a x b, (..., 3); np.cross takes three times as long."""
    (ax, ay, az), (bx, by, bz) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    out = np.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), -1)
    out /= np.sqrt(np.einsum("...i,...i->...", out, out))[..., None] + np.float32(1e-6)
    return out


def spread(person: Person, wash: Wash, guides: Guides, count: int, detail: int) -> Strands:
    """About `count` strands around the guides (none where there are no guides), with points enough for a picture of
    `detail` pixels."""
    style, rng = person.hair, stream(wash.seed, 52)
    radius, pitch, jitter, per_turn = _CURL[style.curl]
    wide = math.sqrt(style.clarity) if style.curl in ("wavy", "curly") else 1.0
    n = len(guides.path)
    if not n:
        none = np.zeros(0, np.float32)
        return Strands(np.zeros((0, 2, 3), np.float32), none, none, none > 0)
    longest = float(np.quantile(guides.length, 0.9))
    points = int(np.clip(longest / pitch * per_turn, 13, 18 + detail / 4.6)) // 3 * 3 + 1
    pitch = max(pitch, 7 * longest / points)  # never fewer than seven points to a turn
    path, away, side = (_resample(v, points) for v in (guides.path, *_frame(guides.path)))
    copies = max(1, round(count / n))
    owner = np.tile(np.arange(n), copies)
    total = n * copies
    along = np.linspace(0, 1, points, dtype=np.float32)[None, :]
    length = guides.length[owner][:, None]
    run = along * length

    # Locks: strands start apart and draw together (or fan out, where the hair is fine and clean).
    gap = np.float32(min(0.74 / np.sqrt(n / 6.0) + 0.012, 0.11))
    angle, radial = rng.random((2, total), dtype=np.float32)
    angle, radial = angle * np.float32(2 * np.pi), np.sqrt(radial)
    clump = style.clump * _CLUMP[style.curl] * (0.35 if style.length == "short" else 1.0)
    clump = float(np.clip(clump - 0.2 * wash.frizz, 0.0, 0.75))
    fan = 2.4 if style.curl == "tightly curly" else 0.35 * wash.frizz + 0.3 * (style.length == "short")
    draw = ((1 - clump * along**0.8) + fan * along * np.minimum(length / 0.35, 1)).astype(np.float32)
    across = (radial * np.cos(angle) * gap).astype(np.float32)[:, None] * draw
    out = (radial * np.sin(angle) * gap * 0.6).astype(np.float32)[:, None] * draw * np.minimum(along * 5, 1)

    own = rng.standard_normal((4, total), dtype=np.float32)
    phase_lock = rng.uniform(0, 2 * np.pi, n)[owner] + own[0] * (jitter * (0.7 + 0.6 * wash.frizz))
    turns = 2 * np.pi / pitch * rng.uniform(0.8, 1.25, n)[owner] * (1 + 0.03 * own[1])
    phase = turns.astype(np.float32)[:, None] * run + phase_lock.astype(np.float32)[:, None]
    size = (radius * wide * rng.uniform(0.7, 1.3, n) * (0.85 + 0.06 * wash.restyle)).astype(np.float32)
    size = np.minimum(size, np.float32(0.16 * wide) * guides.length)[owner, None]  # stubs do not curl into beads
    size = size * np.minimum(run * np.float32(1 / (0.12 if style.curl == "tightly curly" else 0.3)), 1)
    flat = np.float32(0.45) if style.curl in ("straight", "wavy") else np.float32(0.9)
    across = across + size * np.sin(phase)
    out = out + size * flat * np.cos(phase)

    # Frizz: a slow random walk of each strand; flyaways get a large one.
    stray = rng.random(total) < 0.006 + 0.018 * wash.flyaways
    knots = rng.standard_normal((2, total, 5), dtype=np.float32)
    at = np.linspace(0, 3.999, points)
    low, t = at.astype(int), (at - at.astype(int)).astype(np.float32)
    walk = knots[..., low] * (1 - t) + knots[..., low + 1] * t
    amount = (
        (0.006 + 0.014 * wash.frizz + np.where(stray, 0.05 + 0.06 * wash.flyaways, 0)).astype(np.float32)[:, None]
        * np.minimum(length / 0.5, 1)
        * np.minimum(run / 0.25, 1)
    )
    across = across + walk[0] * amount
    out = out + walk[1] * amount + np.where(stray, 0.03, 0).astype(np.float32)[:, None] * along
    grown = path[owner] + away[owner] * out[..., None] + side[owner] * across[..., None]
    layer = np.clip(guides.layer[owner] + 0.175 * own[2], 0, 1).astype(np.float32)
    tint = (0.4 * rng.normal(0, 1, n)[owner] + 0.8 * own[3]).astype(np.float32)
    if style.loss == "thinning":
        bare = smoothstep(-0.35, -0.75, guides.path[owner, 0, 1])
        kept = rng.random(total) > 0.72 * bare
        grown, layer, tint, stray = grown[kept], layer[kept], tint[kept], stray[kept]
    return Strands(grown.astype(np.float32), layer, tint, stray)
