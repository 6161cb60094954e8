"""A portrait from (person, session, view): picture, hair mask and alpha, skin mask, face box, landmarks.

The bald twin is the same call without the hair and its shadows; every random stream is keyed by what it belongs to
and none is shared, so leaving hair out moves nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from visage.synthetic.background import draw_background
from visage.synthetic.body import build_body, draw_body
from visage.synthetic.camera import develop, record
from visage.synthetic.face_shape import build_head, mouth_of
from visage.synthetic.glasses import draw_glasses
from visage.synthetic.hair_draw import Hair, draw_hair, strand_count
from visage.synthetic.hair_growth import grow
from visage.synthetic.hair_strands import spread
from visage.synthetic.head import Layer, draw_head
from visage.synthetic.light import Light
from visage.synthetic.noise import Array, Plane, blur
from visage.synthetic.people import Person, clearer, sample_person
from visage.synthetic.pose import Pose, euler
from visage.synthetic.sessions import Session, View, sample_session, sample_view
from visage.synthetic.solid import Solid

__all__ = [
    "RENDERER_VERSION",
    "Person",
    "Portrait",
    "Session",
    "View",
    "clearer",
    "render",
    "sample_person",
    "sample_session",
    "sample_view",
]

RENDERER_VERSION = 3  # raise it whenever any picture changes: it enters the keys of everything made from pictures


@dataclass(frozen=True)
class Portrait:
    """One picture with its exact labels.

    image: HxWx3 uint8 RGB. hair_mask: HxW uint8 {0,1}, exactly hair_alpha >= 128. hair_alpha: HxW uint8, share of the
    pixel that hair covers (brows and beard are not hair). skin_mask: HxW uint8 {0,1}, visible skin of face, ears and
    neck (lips, brows and beard included; eye openings, glasses frames and clothes not). face_box: x0, y0, x1, y1
    pixels, temples to temples and upper forehead to chin, may leave the picture. landmarks: 5x2 float32 pixels (x,
    y): right eye, left eye, nose tip, right and left mouth corner, the person's right (image left) first.
    """

    image: Array
    hair_mask: Array
    hair_alpha: Array
    skin_mask: Array
    face_box: tuple[float, float, float, float]
    landmarks: Array
    attributes: dict[str, str | float | int]


def _working_size(size: int) -> int:
    """Small pictures are drawn larger and averaged: strokes cannot be thinner than a pixel."""
    return size * 2 if size <= 96 else size


def _poses(session: Session, view: View, work: int) -> tuple[Pose, Pose]:
    """Head and body poses; the body follows a third of the yaw and a fifth of the roll."""
    scale = view.scale * work
    offset = (view.shift[0] / view.scale, view.shift[1] / view.scale - 0.28)
    head = Pose(euler(view.yaw, view.pitch, view.roll), offset, session.distance, scale, work)
    body = Pose(euler(view.yaw * 0.35, 0.0, view.roll * 0.2), offset, session.distance, scale, work)
    return head, body


def _over(image: Array, colour: Array, cover: Plane) -> None:
    image += (colour - image) * cover[..., None]


def _cover(image: Array, hair: Array) -> None:
    image *= 1 - hair[..., 3:]
    image += hair[..., :3]


def _shaded(layer: Layer, hair: Hair, light: Light, pose: Pose) -> Array:
    """The layer's colour under the shadow and occlusion of the hair in front of it."""
    cover = hair.before[..., 3]
    size = pose.size
    lx, ly, lz = light.key_dir
    reach = 0.10 * pose.scale / max(lz + 0.5, 0.5)
    move = np.array(((1, 0, -lx * reach), (0, 1, -ly * reach)), np.float32)
    cast = cv2.warpAffine(blur(cover, (0.02 + 0.35 * light.softness) * pose.scale + 0.3), move, (size, size))
    near = blur(cover, 0.06 * pose.scale + 0.3)
    x0, y0, x1, y1 = layer.box
    dim = layer.receive * cast[y0:y1, x0:x1] * np.float32(0.85) + (1 - layer.receive) * near[y0:y1, x0:x1] * np.float32(
        0.45
    )
    return layer.colour * (1 - dim)[..., None] * (1 - hair.roots[y0:y1, x0:x1])


def _labels(person: Person, view: View, head: Solid, pose: Pose) -> tuple[tuple[float, float, float, float], Array]:
    """Face box and landmarks in working pixels."""
    s, mouth = person.shape, mouth_of(person, view)
    corner = float(mouth.line(np.ones(1, np.float32))[0])
    flat = np.array(
        ((-s.eye_x, 0), (s.eye_x, 0), (0, s.nose_y), (-mouth.half, corner), (mouth.half, corner)), np.float32
    )
    z = head.front_z(flat[:, 0], flat[:, 1])
    points, _ = pose.project(np.column_stack((flat, z)))
    ys = np.linspace(-0.62, head.bottom - 0.02, 24)
    width = np.interp(ys, np.linspace(head.top, head.bottom, len(head.width)), head.width)
    outline = np.concatenate([np.column_stack((k * width, ys)) for k in (-0.92, -0.5, 0, 0.5, 0.92)]).astype(np.float32)
    xy, _ = pose.project(np.column_stack((outline, head.front_z(outline[:, 0], outline[:, 1]))))
    (x0, y0), (x1, y1) = xy.min(0), xy.max(0)
    return (float(x0), float(y0), float(x1), float(y1)), points.astype(np.float32)


def render(person: Person, session: Session, view: View, size: int, *, bald: bool = False) -> Portrait:
    """Draw one picture of `size` x `size` pixels (>= 32). `bald` leaves out scalp hair and its shadows and nothing
    else."""
    if size < 32:
        raise ValueError(f"size is {size}; a portrait needs at least 32 pixels")
    work = _working_size(size)
    pose, body_pose = _poses(session, view, work)
    light = session.light
    head = build_head(person, view, pose.scale * 1.3)
    body = build_body(person, session.clothes, pose.scale * 0.8)
    head_layer = draw_head(person, view, light, head, pose)
    body_layer = draw_body(person, session.clothes, light, body, body_pose, head_layer)
    image = draw_background(session, view, light, work)

    layers = (body_layer, head_layer)
    covers = [np.zeros((work, work), np.float32) for _ in layers]
    depth = np.full((work, work), -9, np.float32)
    for layer, cover in zip(layers, covers, strict=True):
        x0, y0, x1, y1 = layer.box
        cover[y0:y1, x0:x1] = layer.cover
        depth[y0:y1, x0:x1] = np.maximum(depth[y0:y1, x0:x1], layer.depth)
    if bald:
        empty = np.zeros((work, work, 4), np.float32)
        hair = Hair(empty, empty, empty[..., :3])
    else:
        down = pose.rotation[1].copy()
        guides = grow(person, session.wash, head, body, down, 900)
        strands = spread(person, session.wash, guides, strand_count(person, work), work)
        hair = draw_hair(person, session.wash, light, strands, pose, depth)
        _cover(image, hair.behind)
    skin = np.zeros((work, work), np.float32)
    for layer in layers:
        x0, y0, x1, y1 = layer.box
        part = image[y0:y1, x0:x1]
        _over(part, layer.colour if bald else _shaded(layer, hair, light, pose), layer.cover)
        skin[y0:y1, x0:x1] += (layer.skin - skin[y0:y1, x0:x1]) * layer.cover
    frames = draw_glasses(person, light, head, pose, image)
    _cover(image, hair.before)
    alpha = hair.behind[..., 3] * (1 - covers[0]) * (1 - covers[1])
    alpha = hair.before[..., 3] + alpha * (1 - hair.before[..., 3])
    skin *= (1 - hair.before[..., 3]) * (1 - frames)

    box, landmarks = _labels(person, view, head, pose)
    planes = np.dstack((alpha, skin))
    if work != size:
        planes = cv2.resize(planes, (size, size), interpolation=cv2.INTER_AREA)
    down_by = size / work
    soft = np.round(planes[..., 0] * 255).astype(np.uint8)
    picture = record(develop(image, session, view, light.exposure, size), session, view)
    return Portrait(
        picture, (soft >= 128).astype(np.uint8), soft, ((planes[..., 1] >= 0.5) & (soft < 128)).astype(np.uint8),
        (box[0] * down_by, box[1] * down_by, box[2] * down_by, box[3] * down_by), landmarks * np.float32(down_by),
        person.attributes,
    )  # fmt: skip
