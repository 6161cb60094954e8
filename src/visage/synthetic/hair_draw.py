"""Drawing strands: Kajiya-Kay shading per run of a strand, depth-tested against head and body, rasterised back to
front.

Colours are quantised to a few dozen per depth layer, so that one `cv2.polylines` call draws hundreds of runs; the
fourth channel of the buffer is the coverage, painted by the same strokes, which is why the alpha is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from visage.synthetic.hair_strands import Strands
from visage.synthetic.light import Light
from visage.synthetic.noise import Array, Plane, linear
from visage.synthetic.people import HAIR_COLOURS, Person
from visage.synthetic.pose import Pose
from visage.synthetic.sessions import Wash

_SHADES, _SHINES, _TINTS = 12, 5, 4
_SHIFT = 4


@dataclass(frozen=True)
class Hair:
    """Hair `behind` and `before` the head and body: HxWx4 float32 each, linear RGB premultiplied by the coverage 0..1
    in the last channel; `roots` HxWx3 0..1 is what the hair that stands on the scalp takes from its colour."""

    behind: Array
    before: Array
    roots: Array


def palette(person: Person, wash: Wash) -> Array:
    """(tints, 3) linear albedo: darker, base and lighter strands, and grey ones."""
    hair = person.hair
    base = linear(HAIR_COLOURS[hair.colour]) * np.float32(1.15 * np.exp(wash.tone))
    warm = np.array((1.12, 1.0, 0.86), np.float32)
    grey = 0.66 * base + 0.34 * linear((150, 148, 146))
    return np.stack((base * 0.74, base, base * 1.22 * warm, grey)).astype(np.float32)


def _tints(person: Person, tint: Array) -> Array:
    kind = np.digitize(tint, (-0.75, 0.9)).astype(np.int64)
    grey = person.hair.grey if person.hair.colour not in ("grey", "white") else 0.3
    chance = (tint * 12.9898) % 1.0
    return np.where(np.abs(chance) < 0.55 * grey, 3, kind)


def _encode(colour: Array) -> list[list[float]]:
    """Linear RGB (N, 3) to the buffer's square-root 8-bit code (keeps dark hair from banding)."""
    return (np.sqrt(np.clip(colour, 0, 1.6) / 1.6) * 255).tolist()


def _runs(path: Array, length: int) -> Array:
    """(N, P, 2) polylines cut into (N, R, length + 1, 2) overlapping runs."""
    starts = np.arange(0, path.shape[1] - 1, length)
    return path[:, np.minimum(starts[:, None] + np.arange(length + 1), path.shape[1] - 1)]


def _shade(
    middle: Array, tangent: Array, layer: Array, along: Array, shift: Array, pose: Pose, light: Light, wash: Wash
) -> tuple[Array, Array, Array]:
    """Key and ambient diffuse and specular strength per run."""
    axis = middle.copy()
    axis[..., 0], axis[..., 2] = 0, -0.12
    axis[..., 1] = np.clip(middle[..., 1], -0.35, 0.9)
    form = (middle - axis) @ pose.rotation.T
    form /= np.linalg.norm(form, axis=-1, keepdims=True) + 1e-6
    t = tangent @ pose.rotation.T
    t /= np.linalg.norm(t, axis=-1, keepdims=True) + 1e-6
    key = np.asarray(light.key_dir, np.float32)
    half = key + np.array((0, 0, 1), np.float32)
    half /= np.linalg.norm(half) + 1e-6
    facing = np.clip((form @ key + 0.25) / 1.25, 0, 1)
    cos_l = t @ key
    open_ = np.clip(0.22 + 0.78 * layer, 0, 1) * np.clip(0.45 + 1.2 * along, 0.45, 1)
    rear = np.clip(0.75 + 0.6 * form[..., 2], 0.35, 1)
    deep = 1 - 0.45 * np.clip((middle[..., 1] - 0.7) / 0.5, 0, 1) * (middle[..., 2] < 0.1)
    diffuse = np.sqrt(np.maximum(1 - cos_l * cos_l, 0)) * facing * open_ * deep
    ambient = (0.55 - 0.45 * form[..., 1]) * open_ * rear * deep
    moved = t + form * (0.10 + 0.03 * shift)[..., None]
    moved /= np.linalg.norm(moved, axis=-1, keepdims=True) + 1e-6
    cos_h = moved @ half
    lobe = np.sqrt(np.maximum(1 - cos_h * cos_h, 0)) ** (16 + 34 * wash.sheen)
    rim = np.clip(form @ np.asarray(light.rim_dir, np.float32) + 0.1, 0, 1) * (1 - np.abs(form[..., 2])) * open_
    return (
        diffuse + np.float32(0.8 * np.mean(light.rim)) * rim,
        ambient,
        lobe * facing * open_ * np.float32(0.2 + 0.65 * wash.sheen),
    )


def _thickness(person: Person, pose: Pose) -> tuple[int, float]:
    """Base stroke width in pixels and the share of strands drawn one pixel wider.

    A stroke cannot be below a pixel, so that the widths of clear hair also grow as a whole.
    """
    width, clarity = {"thin": 0.0072, "normal": 0.0115, "thick": 0.0150}[person.hair.strand], person.hair.clarity
    if clarity != 1:
        width = 0.0115 * (width / 0.0115) ** clarity * (1 + 0.4 * (clarity - 1))
    width *= pose.scale
    whole = max(1, int(width))
    return whole, float(np.clip(width - whole, 0, 1))


def strand_count(person: Person, size: int) -> int:
    """How many strands a picture of `size` pixels gets: thin hair has many, and detail is not paid for where it
    cannot be seen."""
    many = {"thin": 13.5, "normal": 10.0, "thick": 8.0}[person.hair.strand]
    tight = 1.4 if person.hair.curl == "tightly curly" else 1.0
    return int(many * tight * 700 * (min(size, 700) / 512) ** 1.45)


def draw_hair(person: Person, wash: Wash, light: Light, strands: Strands, pose: Pose, depth: Plane) -> Hair:
    """Rasterise; `depth` (size x size, camera z) is the nearest of head and body per pixel."""
    size = pose.size
    behind, before = np.zeros((size, size, 4), np.uint8), np.zeros((size, size, 4), np.uint8)
    wisps, far_wisps = np.zeros((size, size, 4), np.uint8), np.zeros((size, size, 4), np.uint8)
    colours = palette(person, wash)
    key, sky = np.asarray(light.key, np.float32), np.asarray(light.sky, np.float32)
    if len(strands.path):
        _underlayer(person, strands, pose, depth, colours[0] * (0.16 * key + 0.30 * sky), behind, before)
        _overlayer(person, wash, light, strands, pose, depth, colours, (behind, before, wisps, far_wisps))
    fine = np.float32(min(0.62, 0.25 + pose.scale / 400))
    roots = _roots(strands, pose, depth, colours[1])
    return Hair(_veil(_decode(behind), _decode(far_wisps), fine), _veil(_decode(before), _decode(wisps), fine), roots)


def _roots(strands: Strands, pose: Pose, depth: Plane, tint: Array) -> Array:
    """What the roots, of albedo `tint`, take from the skin under them, HxWx3: it closes partings and softens the
    hairline without a stroke."""
    size = pose.size
    cell = 0.05 * pose.scale
    side = int(size / cell) + 1
    xy, z = pose.project(strands.path[:, 0])
    px = np.clip(xy.astype(int), 0, size - 1)
    seen = z > depth[px[:, 1], px[:, 0]] - 0.12
    at = np.clip((xy[seen] / cell).astype(int), 0, side - 1)
    count = np.bincount(at[:, 1] * side + at[:, 0], minlength=side * side).reshape(side, side).astype(np.float32)
    full = max(len(strands.path) / 2400, 1e-3)
    thick = np.minimum(1.4 * cv2.GaussianBlur(np.minimum(count / np.float32(full), 1), (0, 0), 1.3), 1)
    thick = cv2.morphologyEx(thick, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    scale = np.array(((1 / cell, 0, 0.5 / cell - 0.5), (0, 1 / cell, 0.5 / cell - 0.5)), np.float32)
    wide = cv2.warpAffine(thick, scale, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return wide[..., None] * (np.float32(0.92) - np.clip(1.2 * tint, 0, 0.75))


def _veil(hair: Array, wisps: Array, opacity: np.float32) -> Array:
    """Flyaways, thinner than a pixel and so partly transparent, over the mass of the hair."""
    wisps *= opacity
    hair *= 1 - wisps[..., 3:]
    hair += wisps
    return hair


def _decode(buffer: Array) -> Array:
    """The buffer's code to premultiplied linear RGB and coverage."""
    image = buffer.astype(np.float32)
    image *= np.float32(1 / 255)
    cover = image[..., 3:].copy()
    image *= image
    image *= np.float32(1.6) / np.maximum(cover, np.float32(1e-3))
    image[..., 3:] = cover
    return image


def _place(path: Array, pose: Pose) -> tuple[Array, Array]:
    xy, z = pose.project(path)
    return np.round((xy - 0.5) * 2**_SHIFT).astype(np.int32), z


def _in_front(xy: Array, z: Array, depth: Plane) -> Array:
    """Which of the runs (N, R, L, 2), at depths (N, R, L), go over head and body.

    A run beside the silhouette goes with the run before it on its strand: a change of buffer there would show as a seam
    around the head.
    """
    px = np.clip(xy >> _SHIFT, 0, depth.shape[0] - 1)
    there = depth[px[..., 1], px[..., 0]]
    solid = there > -8
    over = np.asarray((solid & (z > there - 0.05)).any(-1))
    under = np.asarray((solid & (z < there - 0.07)).any(-1))
    known = np.where(over | under, np.arange(z.shape[1]), 0)
    return np.take_along_axis(over & ~under, np.maximum.accumulate(known, axis=1), axis=1)


def _underlayer(
    person: Person,
    strands: Strands,
    pose: Pose,
    depth: Plane,
    colour: Array,
    behind: Array,
    before: Array,
) -> None:
    """Broader dark strokes along some of the strands, tips left out, so that no scalp shows between the lit ones."""
    if person.hair.loss == "thinning":
        return
    some = strands.path[~strands.stray][: 200 + int(2.6 * pose.size)]
    reach = np.abs(np.diff(some[:, ::3], axis=1)).sum((1, 2))
    middling = float(np.median(reach))
    some = some[reach > 0.4 * middling]  # broad strokes along stubs (sideburns, nape) would be beads
    stride = max(1, some.shape[1] // (12 if pose.size >= 192 else 7))
    keep = max(3, round(some.shape[1] * 0.8))
    xy, z = _place(some[:, :keep:stride], pose)
    runs = _runs(xy, 1)
    front = _in_front(runs, np.stack((z[:, :-1], z[:, 1:]), -1), depth)
    width = max(1, round(min(0.042 if person.hair.length == "short" else 0.034, 0.15 * middling) * pose.scale + 0.35))
    code = (*_encode(colour[None])[0], 255)
    for target, chosen in ((behind, ~front), (before, front)):
        cv2.polylines(target, cast(list[Array], runs[chosen]), False, code, width, cv2.LINE_AA, _SHIFT)


def _overlayer(
    person: Person, wash: Wash, light: Light, strands: Strands, pose: Pose, depth: Plane, colours: Array,
    buffers: tuple[Array, ...],
) -> None:  # fmt: skip
    """The lit strands; `buffers` are behind, before, flyaways before, flyaways behind."""
    coarse = 3 if pose.size >= 400 else 4 if pose.size >= 192 else 8
    length = max(3, min(coarse, strands.path.shape[1] // 4))
    xy, z = _place(strands.path, pose)
    runs = _runs(xy, length)
    n, r = runs.shape[:2]
    mid = np.minimum(np.arange(r) * length + 1, strands.path.shape[1] - 2)
    # The tangent spans the run: a highlight is a band over neighbouring strands, not a glitter of their wiggles.
    middle, far = strands.path[:, mid], np.minimum(mid + length - 1, strands.path.shape[1] - 1)
    tangent = strands.path[:, far] - strands.path[:, mid - 1]
    along = np.broadcast_to((np.arange(r, dtype=np.float32) + 0.5) / r, (n, r))
    layer = np.broadcast_to(strands.layer[:, None], (n, r))
    diffuse, ambient, shine = _shade(
        middle, tangent, layer, along, np.broadcast_to(strands.tint[:, None], (n, r)), pose, light, wash
    )
    ends = (0, 1, length)
    front = _in_front(runs[:, :, ends], z[:, np.minimum(mid[:, None] - 1 + np.array(ends), z.shape[1] - 1)], depth)
    place = z[:, mid] + 0.25 * layer
    layers = 4 + pose.size // 170
    bins = np.clip(((place - place.min()) / (np.ptp(place) + 1e-6) * layers).astype(np.int64), 0, layers - 1)
    key, sky = np.asarray(light.key, np.float32), np.asarray(light.sky, np.float32)
    mean = (diffuse * key.mean() + ambient * sky.mean()) * np.exp(0.13 * strands.tint)[:, None]
    shade = np.clip(np.sqrt(mean / 1.6) * _SHADES, 0, _SHADES - 1).astype(np.int64)
    gleam = np.clip(np.sqrt(shine) * _SHINES + 0.3 + 0.3 * strands.tint[:, None], 0, _SHINES - 1).astype(np.int64)
    kind = np.broadcast_to(_tints(person, strands.tint)[:, None], (n, r))
    base, wider = _thickness(person, pose)
    thick = (((strands.tint * 7.31) % 1.0 < wider)[:, None] & (along < 0.8) & (kind != 3)).astype(np.int64)
    target = np.where(front, np.where(strands.stray[:, None], 2, 1), np.where(strands.stray[:, None], 3, 0))
    code = ((((target * layers + bins) * _SHADES + shade) * _SHINES + gleam) * _TINTS + kind) * 2 + thick
    code = code.ravel()
    order = np.argsort(code, kind="stable")
    runs, code = runs.reshape(-1, length + 1, 2)[order], code[order]
    edges = np.flatnonzero(np.diff(code, prepend=-1, append=-1))
    value, thick_of = np.divmod(code[edges[:-1]], 2)
    value, kind_of = np.divmod(value, _TINTS)
    value, gleam_of = np.divmod(value, _SHINES)
    value, shade_of = np.divmod(value, _SHADES)
    which = value // layers
    tone = (0.7 * key / key.mean() + 0.3 * sky / sky.mean()).astype(np.float32)
    level = np.float32(1.6) * np.square((shade_of[:, None] + np.float32(0.5)) / _SHADES)
    gloss = np.float32(0.9) * np.square(gleam_of[:, None] / _SHINES)
    albedo = colours[kind_of]
    inks = _encode(albedo * tone * level + (np.sqrt(albedo) * 0.24 + 0.02) * gloss * key)
    widths = np.where(which > 1, 1, base + thick_of).tolist()
    # Within a depth layer, groups follow their code: dark shades first, lit ones over them.
    for a, b, buffer, ink, width in zip(edges[:-1], edges[1:], which, inks, widths, strict=True):
        pieces = cast(list[Array], runs[a:b])
        cv2.polylines(buffers[buffer], pieces, False, (*ink, 255), width, cv2.LINE_AA, _SHIFT)
