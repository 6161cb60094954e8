"""Camera and pose: head frame to pixels and back.

Perspective is weak (camera at 70-180 cm) but real: nose, eyes and outline shift against each other when the head
turns, and a rigid 2-D warp would not show that.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from visage.synthetic.noise import Array, Plane

PIVOT = np.array((0.0, 0.9, -0.25), np.float32)  # the head turns about the top of the neck


@dataclass(frozen=True)
class Pose:
    """`rotation` (3x3, frame to camera), `offset` of the origin from the picture centre (units), `distance` of the
    camera (units), `scale` in pixels per unit at z = 0, `size` of the picture in pixels. Pixel centres lie at
    half-integers."""

    rotation: Array
    offset: tuple[float, float]
    distance: float
    scale: float
    size: int

    def to_camera(self, points: Array) -> Array:
        """(..., 3) points of the frame to camera coordinates (units, z to the camera)."""
        moved = (points - PIVOT) @ self.rotation.T + PIVOT
        moved[..., 0] += self.offset[0]
        moved[..., 1] += self.offset[1]
        return moved

    def project(self, points: Array) -> tuple[Array, Array]:
        """(..., 3) points of the frame to (..., 2) pixels and (...) depth z in units."""
        camera = self.to_camera(np.asarray(points, np.float32))
        zoom = self.scale * self.distance / (self.distance - camera[..., 2])
        return camera[..., :2] * zoom[..., None] + np.float32(self.size / 2), camera[..., 2]

    def rays(self, box: tuple[int, int, int, int]) -> tuple[list[Plane], list[Plane]]:
        """Rays of the pixels in `box` (x0, y0, x1, y1): point = a + s * b in the frame, s = camera z; six HxW planes
        as two lists."""
        x0, y0, x1, y1 = box
        gx = (np.arange(x0, x1, dtype=np.float32) + np.float32(0.5 - self.size / 2)) / np.float32(self.scale)
        gy = (np.arange(y0, y1, dtype=np.float32) + np.float32(0.5 - self.size / 2)) / np.float32(self.scale)
        near = np.zeros((y1 - y0, x1 - x0), np.float32)
        px = near + (gx - np.float32(self.offset[0] + PIVOT[0]))[None, :]
        py = near + (gy - np.float32(self.offset[1] + PIVOT[1]))[:, None]
        dx, dy = -gx[None, :] / np.float32(self.distance), -gy[:, None] / np.float32(self.distance)
        r = self.rotation
        a = [r[0, i] * px + r[1, i] * py - r[2, i] * PIVOT[2] + PIVOT[i] for i in range(3)]
        b = [r[0, i] * dx + r[1, i] * dy + r[2, i] + near for i in range(3)]
        return a, b

    def bounds(self, points: Array, margin: float = 2.0) -> tuple[int, int, int, int]:
        """Integer pixel box around the projected (N, 3) points, clipped to the picture (may be empty)."""
        xy, _ = self.project(points)
        low = np.clip(np.floor(xy.min(0) - margin), 0, self.size).astype(int)
        high = np.clip(np.ceil(xy.max(0) + margin), 0, self.size).astype(int)
        return int(low[0]), int(low[1]), int(max(high[0], low[0])), int(max(high[1], low[1]))


def euler(yaw: float, pitch: float, roll: float) -> Array:
    """Rotation frame -> camera: yaw > 0 turns the face to image right, pitch > 0 lifts it, roll > 0 tips it
    clockwise."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turn = np.array(((cy, 0, sy), (0, 1, 0), (-sy, 0, cy)))
    nod = np.array(((1, 0, 0), (0, cp, -sp), (0, sp, cp)))
    tip = np.array(((cr, -sr, 0), (sr, cr, 0), (0, 0, 1)))
    return (tip @ nod @ turn).astype(np.float32)


@dataclass(frozen=True)
class Canvas:
    """The frontal plane of a frame, painted from the front and looked up by (x, y) of a surface point: `per_unit`
    pixels per unit."""

    x0: float
    y0: float
    x1: float
    y1: float
    per_unit: float

    @property
    def shape(self) -> tuple[int, int]:
        return round((self.y1 - self.y0) * self.per_unit), round((self.x1 - self.x0) * self.per_unit)

    @property
    def xs(self) -> Array:
        """Row vector (1, W) of x in units at pixel centres."""
        return (np.arange(self.shape[1], dtype=np.float32)[None, :] + 0.5) / np.float32(self.per_unit) + np.float32(
            self.x0
        )

    @property
    def ys(self) -> Array:
        """Column vector (H, 1) of y in units at pixel centres."""
        return (np.arange(self.shape[0], dtype=np.float32)[:, None] + 0.5) / np.float32(self.per_unit) + np.float32(
            self.y0
        )

    def window(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        """(rows, columns) of the rectangle in units, clipped to the canvas."""
        height, width = self.shape
        cols = slice(max(0, int((x0 - self.x0) * self.per_unit)), min(width, int((x1 - self.x0) * self.per_unit) + 1))
        rows = slice(max(0, int((y0 - self.y0) * self.per_unit)), min(height, int((y1 - self.y0) * self.per_unit) + 1))
        return rows, cols

    def pixels(self, points: Array) -> Array:
        """(..., 2) points in units to canvas pixels in OpenCV's convention (pixel centres at integers)."""
        return (points - np.array((self.x0, self.y0), np.float32)) * np.float32(self.per_unit) - np.float32(0.5)

    def sample(self, image: Array, x: Plane, y: Plane) -> Array:
        """Bilinear lookup of a canvas image (HxW or HxWxC) at surface points."""
        k = np.float32(self.per_unit)
        map_x = (x - np.float32(self.x0)) * k - np.float32(0.5)
        map_y = (y - np.float32(self.y0)) * k - np.float32(0.5)
        return cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
