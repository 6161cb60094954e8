"""Solids with elliptic cross-sections: the head and the torso, traced per pixel with exact normals.

A solid is three profiles over y (half width, front and back depth) plus a relief map on its front. Tracing a
distance-like function costs two table lookups per step, and the same function serves as the collision body for
growing hair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from visage.synthetic.noise import Array, Plane
from visage.synthetic.pose import Canvas, Pose

_CELLS = 1024
_FINE = 6  # steps left to a ray that starts just before the surface


@dataclass(frozen=True)
class Surface:
    """What the tracer saw in `box` (x0, y0, x1, y1 pixels): `point` (three HxW planes in the frame), `normal` (HxWx3,
    camera frame), `coverage` (HxW 0..1, anti-aliased silhouette), `depth` (HxW camera z; -9 where nothing)."""

    box: tuple[int, int, int, int]
    point: tuple[Plane, Plane, Plane]
    normal: Array
    coverage: Plane
    depth: Plane


def spline(points: Sequence[tuple[float, float]], at: Array) -> Array:
    """Catmull-Rom curve through (y, value) points, y ascending, read off at `at`; parametric, so it may close with a
    vertical tangent."""
    p = np.asarray(points, np.float64)
    p = np.vstack((2 * p[0] - p[1], p, 2 * p[-1] - p[-2]))
    t = np.linspace(0, 1, 24, endpoint=False)[:, None]
    a, b, c, d = p[:-3, None], p[1:-2, None], p[2:-1, None], p[3:, None]
    parts = 0.5 * (2 * b + ((c - a) + ((2 * a - 5 * b + 4 * c - d) + (3 * b - a - 3 * c + d) * t) * t) * t)
    curve = np.vstack((parts.reshape(-1, 2), p[-2:-1]))
    return np.interp(at, np.maximum.accumulate(curve[:, 0]), curve[:, 1]).astype(np.float32)


@dataclass(frozen=True)
class Solid:
    """`width`, `front`, `back` are profiles sampled at `_CELLS` heights from `top` to `bottom`; `relief` is extra z
    on `canvas`."""

    top: float
    bottom: float
    width: Array
    front: Array
    back: Array
    canvas: Canvas
    relief: Plane
    slope: tuple[Plane, Plane] = field(repr=False)
    _table: Array = field(repr=False)
    _bumps: Array = field(repr=False)

    @classmethod
    def build(
        cls, width: Sequence[tuple[float, float]], front: Sequence[tuple[float, float]], back: Sequence[tuple[float,
        float]],
        canvas: Canvas, relief: Plane,
    ) -> Solid:  # fmt: skip
        """From profile control points (y, value); `relief` is HxW float32 on `canvas`, units."""
        top, bottom = width[0][0], width[-1][0]
        ys = np.linspace(top, bottom, _CELLS, dtype=np.float32)
        w, f, b = (np.maximum(spline(points, ys), 1e-3) for points in (width, front, back))
        dy = (bottom - top) / (_CELLS - 1)
        dw, df, db = (np.gradient(v, dy).astype(np.float32) for v in (w, f, b))
        steep = np.minimum(np.sqrt(1 + np.square(np.maximum(np.maximum(np.abs(dw), np.abs(df)), np.abs(db)))), 3)
        table = np.stack((w, f, b, steep, dw, df, db, np.zeros_like(w)), -1)[None].astype(np.float32)
        gx = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3, scale=canvas.per_unit / 8)
        gy = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3, scale=canvas.per_unit / 8)
        ramp = np.sqrt(1 + np.square(gx) + np.square(gy))
        ramp = cv2.blur(cv2.dilate(np.clip(ramp, 1, 3), np.ones((3, 3), np.uint8)), (3, 3))
        return cls(top, bottom, w, f, b, canvas, relief, (gx, gy), table, np.dstack((relief, ramp)))

    def _rows(self, y: Plane, columns: slice) -> Sequence[Plane]:
        at = (y - np.float32(self.top)) * np.float32((_CELLS - 1) / (self.bottom - self.top))
        table = np.ascontiguousarray(self._table[..., columns])
        return cv2.split(cv2.remap(table, at, np.zeros_like(at), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    def distance(self, x: Plane, y: Plane, z: Plane) -> Plane:
        """First-order distance of HxW (or Nx1) points in units, negative inside. The section's gauge is convex, so f
        / |grad f| never passes the surface in the section; slopes of the profiles and of the relief are allowed for
        by their largest component."""
        return self._gap((x, y, z), self._rows(y, slice(0, 4)), self.canvas.sample(self._bumps, x, y))

    def _gap(self, point: Sequence[Plane], row: Sequence[Plane], bumps: Array) -> Plane:
        (x, y, z), (w, f, b, steep) = point, row
        front = np.clip(z * 4, 0, 1)
        z = z - bumps[..., 0] * front
        depth = np.where(z > 0, f, b)
        u, v = x / w, z / depth
        rho = np.sqrt(u * u + v * v)
        u /= w
        v /= depth
        gap = (rho - 1) * (rho + np.float32(1e-4)) / (np.sqrt(u * u + v * v) * steep + np.float32(1e-4))
        gap /= 1 + (bumps[..., 1] - 1) * front
        middle, half = np.float32((self.top + self.bottom) / 2), np.float32((self.bottom - self.top) / 2)
        return np.maximum(gap, np.abs(y - middle) - half)

    def hug(self, points: Array) -> tuple[Array, Array]:
        """Unit normals (N, 3), the relief ignored, and distances (N,) of N points: what growing hair asks at each
        step."""
        x, y, z = np.ascontiguousarray(points.T)
        cell = (y - np.float32(self.top)) * np.float32((_CELLS - 1) / (self.bottom - self.top)) + np.float32(0.5)
        w, f, b, steep, dw, df, db, _ = self._table[0, np.clip(cell, 0, _CELLS - 1).astype(np.intp)].T
        ahead = z > 0
        d, dd = np.where(ahead, f, b), np.where(ahead, df, db)
        px, pz = x / (w * w), z / (d * d)
        normal = np.stack((px, -(px * x * dw / w + pz * z * dd / d), pz), -1)
        normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None] + np.float32(1e-6)
        return normal, self._gap(
            (x, y, z), (w, f, b, steep), self.canvas.sample(self._bumps, x[:, None], y[:, None])[:, 0]
        )

    def outward(self, x: Plane, y: Plane, z: Plane, detail: bool = True) -> Array:
        """Unit normals (..., 3) in the frame at points on (or near) the surface; without `detail` the relief is
        ignored."""
        w, f, b, _, dw, df, db, _ = (*self._rows(y, slice(0, 4)), *self._rows(y, slice(4, 8)))
        front = np.clip(z * 4, 0, 1)
        lift = self.canvas.sample(self.relief, x, y) * front if detail else np.zeros_like(x)
        zz = z - lift
        ahead = zz > 0
        d, dd = np.where(ahead, f, b), np.where(ahead, df, db)
        px, pz = x / (w * w), zz / (d * d)
        normal = np.empty((*x.shape, 3), np.float32)
        normal[..., 0], normal[..., 1], normal[..., 2] = px, -(px * x * dw / w + pz * zz * dd / d), pz
        if detail:
            normal[..., 0] -= pz * front * self.canvas.sample(self.slope[0], x, y)
            normal[..., 1] -= pz * front * self.canvas.sample(self.slope[1], x, y)
        normal /= np.sqrt(np.einsum("...i,...i->...", normal, normal))[..., None] + np.float32(1e-6)
        return normal

    def front_z(self, x: float | Array, y: float | Array) -> Array:
        """z of the front surface over (x, y), same shape as the broadcast inputs; 0 outside the outline."""
        x, y = np.broadcast_arrays(np.atleast_1d(np.asarray(x, np.float32)), np.atleast_1d(np.asarray(y, np.float32)))
        shape = x.shape
        x, y = np.ascontiguousarray(x).reshape(shape[0], -1), np.ascontiguousarray(y).reshape(shape[0], -1)
        w, f, _, _ = self._rows(y, slice(0, 4))
        base = f * np.sqrt(np.maximum(1 - np.square(x / w), 0))
        return (base + self.canvas.sample(self.relief, x, y) * (base > 0)).reshape(shape)

    def _start(self, a: list[Plane], b: list[Plane], near: float, steps: int, scale: float) -> tuple[Plane, Plane]:
        """Depth to start each ray from, just before the surface, and whether it may hit at all: every k-th ray is
        traced, and each pixel starts from the nearest of the nine around it."""
        k, (height, width) = int(np.clip(scale * 0.06, 2, 4)), a[0].shape
        a, b = ([np.ascontiguousarray(plane[::k, ::k]) for plane in planes] for planes in (a, b))
        s = np.full(a[0].shape, near, np.float32)
        best, closest = s, np.full(a[0].shape, 9, np.float32)
        for _ in range(steps - 3):
            gap = self.distance(a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2])
            best = np.where(gap < closest, s, best)
            np.minimum(closest, gap, out=closest)
            s = s - gap
        planes = cv2.dilate(np.dstack((best, closest * -np.float32(scale))), np.ones((3, 3), np.uint8))
        planes = planes.repeat(k, 0).repeat(k, 1)[:height, :width]
        return planes[..., 0] + np.float32(0.03), planes[..., 1] > -3 * k

    def trace(self, pose: Pose, box: tuple[int, int, int, int], near: float, steps: int = 12) -> Surface:
        """Sphere-trace the pixels of `box` (must not be empty) from camera depth `near` (units)."""
        a, b = pose.rays(box)
        s, hopeful = self._start(a, b, near, steps, pose.scale)
        closest = np.full(a[0].shape, 9, np.float32)
        gap = before = taken = np.ones_like(s)
        for step in range(_FINE):
            gap = self.distance(a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2])
            np.minimum(closest, gap, out=closest)
            move = gap * np.float32(0.95)
            if step >= _FINE - 4:  # the cautious field creeps where it is steep: end on secant steps
                move /= np.clip((before - gap) / np.where(np.abs(taken) < 1e-5, np.float32(1e-5), taken), 0.15, 1)
            s -= move
            before, taken = gap, move
        # Rays that graze a nose or a cheek creep; finish those few alone.
        late = np.flatnonzero((np.abs(gap) * pose.scale > 0.4) & (s > -0.9) & hopeful)
        for part in np.array_split(late, late.size // 20000 + 1) if late.size else ():  # remap takes at most 32767 rows
            la, lb = ([plane.reshape(-1, 1)[part] for plane in planes] for planes in (a, b))
            ls, lc = s.reshape(-1, 1)[part], closest.reshape(-1, 1)[part]
            for _ in range(steps):
                gap = self.distance(la[0] + ls * lb[0], la[1] + ls * lb[1], la[2] + ls * lb[2])
                np.minimum(lc, gap, out=lc)
                ls = np.maximum(ls - gap, -1)
            s.reshape(-1, 1)[part], closest.reshape(-1, 1)[part] = ls, lc
        coverage = np.square(np.clip(1.15 - closest * np.float32(0.75 * pose.scale), 0, 1))
        point = (a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2])
        normal = self.outward(*point) @ pose.rotation.T
        depth = np.where(coverage > 0.5, s, np.float32(-9))
        return Surface(box, point, normal, coverage, depth)
