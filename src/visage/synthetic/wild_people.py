"""A person on a scene: the layers of `visage.synthetic.portrait.render`, with what is worn and held between them.

Small heads are drawn on twice the pixels and averaged with everything else, and strands are counted by the head's
size instead of the picture's.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from visage.synthetic.body import build_body, draw_body
from visage.synthetic.face_shape import build_head
from visage.synthetic.glasses import draw_glasses
from visage.synthetic.hair_draw import Hair, draw_hair, palette, strand_count
from visage.synthetic.hair_growth import grow
from visage.synthetic.hair_strands import Strands, spread
from visage.synthetic.head import draw_head
from visage.synthetic.noise import Array, Plane, fractal, smoothstep
from visage.synthetic.people import Person, sample_person
from visage.synthetic.portrait import _labels, _shaded
from visage.synthetic.pose import Pose, euler
from visage.synthetic.sessions import Session, View, Wash, sample_session, sample_view
from visage.synthetic.solid import Solid
from visage.synthetic.wild_background import wild_background
from visage.synthetic.wild_hair import crop_coat, flatten, pinned, recolour, shine
from visage.synthetic.wild_hat import Hat, build_hat, put_hat, put_lining
from visage.synthetic.wild_plan import Plan
from visage.synthetic.wild_scene import Scene
from visage.synthetic.wild_things import put_arms, put_figure, put_shirt, put_things

_FAR = 0.16  # heads smaller than this (10 cm as a share of the picture) are drawn on twice the pixels
Labels = tuple[tuple[float, float, float, float], Array]


def working_size(size: int, view: View) -> int:
    """Pixels a side that the scene is drawn on, for a picture of `size`."""
    return 2 * size if size <= 96 or (view.scale < _FAR and size <= 384) else size


def _poses(session: Session, view: View, plan: Plan, work: int) -> tuple[Pose, Pose]:
    """Head and body; beyond a glance the body turns with the head, and a tilted camera tips both."""
    tilt = float(plan.stream(60).normal(0, 0.28)) if plan.has("tilt") else 0.0
    turned = np.arctan2(np.sin(view.yaw), np.cos(view.yaw))
    follow = 0.35 if abs(turned) < 0.5 else 0.8
    scale = view.scale * work
    offset = (view.shift[0] / view.scale, view.shift[1] / view.scale - 0.28)
    distance = session.distance if view.scale > _FAR else 4 * session.distance
    head = Pose(euler(view.yaw, view.pitch, view.roll + tilt), offset, distance, scale, work)
    body = Pose(euler(float(turned) * follow, 0.0, view.roll * 0.2 + tilt), offset, distance, scale, work)
    return head, body


def _strands(person: Person, wash: Wash, head: Solid, body: Solid, pose: Pose, hat: Hat | None, plan: Plan) -> Strands:
    detail = int(np.clip(pose.scale / 0.25, 96, 420))
    guides = grow(person, wash, head, body, pose.rotation[1].copy(), 900)
    strands = spread(person, wash, guides, strand_count(person, detail), detail)
    if plan.has("updo") and len(strands.path):
        strands = pinned(flatten(strands, head, 1.5, 0.0, 0.05), plan)
    if hat is not None and len(strands.path):
        strands = flatten(strands, head, hat.line if hat.kind != "hood" else 1.2, hat.slope, 0.6 * hat.room)
    return strands


def _hair(
    person: Person, session: Session, head: Solid, body: Solid, pose: Pose, depth: Plane, cover: Plane,
    hat: Hat | None, plan: Plan,
) -> Hair:  # fmt: skip
    empty = np.zeros((pose.size, pose.size, 4), np.float32)
    if plan.has("bald"):
        return Hair(empty, empty, empty[..., :3])
    strands = _strands(person, session.wash, head, body, pose, hat, plan)
    hair = draw_hair(person, session.wash, session.light, strands, pose, depth)
    if plan.has("shaved"):  # a shadow of stubble is scalp
        return Hair(empty, empty, hair.roots * np.float32(plan.stream(61).uniform(0.2, 0.6)))
    if person.hair.length == "short" and person.hair.loss != "thinning":
        hair = crop_coat(hair, person, session.wash, session.light, cover, plan)
    hair = recolour(hair, person, session.wash, plan, pose)
    return shine(hair, session.light, plan, pose) if plan.has("sheen") else hair


def put_person(scene: Scene, person: Person, session: Session, view: View, plan: Plan) -> Labels:
    """Put one person on the scene; face box and landmarks in working pixels."""
    work, light = scene.alpha.shape[0], session.light
    pose, body_pose = _poses(session, view, plan, work)
    head = build_head(person, view, pose.scale * 1.3)
    body = build_body(person, session.clothes, pose.scale * 0.8)
    head_layer = draw_head(person, view, light, head, pose)
    body_layer = draw_body(person, session.clothes, light, body, body_pose, head_layer)
    layers = (body_layer, head_layer)
    covers = [np.zeros((work, work), np.float32) for _ in layers]
    depth = np.full((work, work), -9, np.float32)
    for layer, cover in zip(layers, covers, strict=True):
        x0, y0, x1, y1 = layer.box
        cover[y0:y1, x0:x1] = layer.cover
        depth[y0:y1, x0:x1] = np.maximum(depth[y0:y1, x0:x1], layer.depth)
    hat = build_hat(head, pose, plan)
    hair = _hair(person, session, head, body, pose, depth, covers[1], hat, plan)
    put_lining(scene, hat)
    scene.grow(hair.behind)
    whole = view.scale < _FAR
    if whole:
        put_figure(scene, body_pose, session.clothes, person, light, plan)
    for layer in layers:
        scene.put(_shaded(layer, hair, light, pose), layer.cover, layer.box, skin=layer.skin)
        if layer is body_layer and plan.has("suit") and np.cos(view.yaw) > 0.4:
            put_shirt(scene, body_pose, person, light, plan)
    if whole:
        put_arms(scene, body_pose, session.clothes, person, light, plan)
    if np.cos(view.yaw) > 0.1:
        scene.skin *= 1 - draw_glasses(person, light, head, pose, scene.image)
    scene.grow(hair.before)
    put_hat(scene, hat, person, light, plan)
    below = body_pose.project(np.array((0.0, 3.6, 0.3), np.float32))[0]
    put_things(scene, pose, person, session.clothes, light, plan, below)
    return _labels(person, view, head, pose)


def compose(person: Person, session: Session, view: View, plan: Plan, size: int) -> tuple[Scene, Labels]:
    """The whole scene on working pixels, linear, before any camera."""
    work = working_size(size, view)
    own = palette(person, session.wash)[1]
    image = wild_background(session, view, session.light, plan, own, size)
    if work != size:
        image = cv2.resize(image, (work, work), interpolation=cv2.INTER_LINEAR)
    scene = Scene.on(np.ascontiguousarray(image, np.float32))
    if plan.has("company"):
        put_company(scene, person, session, view, plan)
    labels = put_person(scene, person, session, view, plan)
    if plan.has("shadow"):
        scene.dim(_cast(plan, work))
    return scene, labels


def put_company(scene: Scene, person: Person, session: Session, view: View, plan: Plan) -> None:
    """Somebody else beside or behind the person, under the same light; their hair is hair as well."""
    rng = plan.stream(70)
    number = int(rng.integers(2**20))
    other = sample_person(person.seed + 1, number)
    side = float(rng.choice((-1, 1)))
    scale = float(np.clip(view.scale * rng.uniform(0.6, 1.05), 0.05, 0.30))
    x = float(np.clip(view.shift[0] + side * rng.uniform(1.6, 3.2) * view.scale, -0.5, 0.5))
    theirs = replace(sample_view(other.seed, number, 0, 0), scale=scale, yaw=float(rng.normal(0, 0.8)),
                     shift=(x, float(np.clip(view.shift[1] + rng.normal(0, 0.06), -0.45, 0.3))))  # fmt: skip
    beside = replace(sample_session(other.seed, number, 0), light=session.light)
    kept = tuple(tag for tag in ("updo", "buzz", "bald") if rng.random() < 0.15)[:1]
    put_person(scene, other, beside, theirs, Plan(kept, "none", plan.dye, int(rng.integers(2**31))))
    scene.skin[:] = 0  # the skin that is asked for is the person's own


def _cast(plan: Plan, work: int) -> Plane:
    """Hard shadows of leaves or blinds over everything, work x work 0..1."""
    rng = plan.stream(71)
    if rng.random() < 0.4:
        axis = np.arange(work, dtype=np.float32) / work
        wave = np.sin((axis[None, :] * rng.normal() + axis[:, None] * rng.normal()) * np.float32(rng.uniform(8, 40)))
    else:
        cells = float(rng.uniform(2, 9))
        wave = fractal(rng, (work, work), (cells, cells), 3)
    soft = float(rng.uniform(0.03, 0.3))
    return smoothstep(0.15, 0.15 + soft, wave) * np.float32(rng.uniform(0.4, 0.8))
