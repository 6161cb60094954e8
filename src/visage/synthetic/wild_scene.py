"""The picture under construction: linear colour with the planes of its labels, which every layer put on it updates.

One function covers, so that what hides hair also leaves the mask: no layer can forget a label.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from visage.synthetic.light import Light, shade
from visage.synthetic.noise import Array, Plane


@dataclass
class Scene:
    """image: size x size x 3 linear float32. alpha, skin, thing: size x size float32 0..1, the shares that hair, face
    skin and everything else of people (clothes, hats, hands) have of a pixel; they never exceed 1 together."""

    image: Array
    alpha: Plane
    skin: Plane
    thing: Plane

    @classmethod
    def on(cls, image: Array) -> Scene:
        """An empty scene before the backdrop `image`."""
        size = image.shape[0]
        return cls(image, *(np.zeros((size, size), np.float32) for _ in range(3)))

    def put(self, colour: Array, cover: Plane, box: tuple[int, int, int, int], *, skin: Plane | float = 0.0) -> None:
        """An opaque layer over `box` (x0, y0, x1, y1): `colour` hxwx3 not premultiplied, `cover` hxw 0..1, `skin` the
        share of it that is face skin; what is not counts as a thing."""
        x0, y0, x1, y1 = box
        part = self.image[y0:y1, x0:x1]
        part += (colour - part) * cover[..., None]
        self.alpha[y0:y1, x0:x1] *= 1 - cover
        for plane, share in ((self.skin, skin), (self.thing, 1 - skin)):
            target = plane[y0:y1, x0:x1]
            target += (share - target) * cover

    def grow(self, hair: Array) -> None:
        """Hair in front: size x size x 4, premultiplied."""
        clear = 1 - hair[..., 3]
        self.image *= clear[..., None]
        self.image += hair[..., :3]
        self.skin *= clear
        self.thing *= clear
        self.alpha *= clear
        self.alpha += hair[..., 3]

    def dim(self, shadow: Plane) -> None:
        """Light taken away, 0 none .. 1 all, size x size; labels stay."""
        self.image *= (1 - shadow)[..., None]


def box_of(mask: Array, margin: int) -> tuple[int, int, int, int] | None:
    """Bounds (x0, y0, x1, y1) of a uint8 mask grown by `margin` pixels inside the picture, None where it is empty."""
    x, y, w, h = cv2.boundingRect(mask)
    if w == 0:
        return None
    return (
        max(0, x - margin),
        max(0, y - margin),
        min(mask.shape[1], x + w + margin),
        min(mask.shape[0], y + h + margin),
    )


def put_blob(scene: Scene, mask: Array, albedo: Array, light: Light, radius: float, *, skin: float = 0.0) -> None:
    """Put a rounded body on the scene: `mask` uint8 0..255 is its outline, `radius` pixels how far its edge curves.

    `albedo` is linear (3,) or size x size x 3. Its height is a quarter circle of the distance to the outline, which
    shades fingers, arms and scarves alike.
    """
    box = box_of(mask, int(1.5 * radius) + 3)
    if box is None:
        return
    x0, y0, x1, y1 = box
    part = np.ascontiguousarray(mask[y0:y1, x0:x1])
    inside = cv2.distanceTransform((part > 127).astype(np.uint8), cv2.DIST_L2, 3)
    near = np.float32(radius) - np.minimum(inside, np.float32(radius))
    height = np.sqrt(np.maximum(np.float32(radius * radius) - near * near, 0))
    height = cv2.GaussianBlur(height, (0, 0), max(0.12 * radius, 0.6))
    gx, gy = (cv2.Sobel(height, cv2.CV_32F, *axis, ksize=3, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    normal = np.dstack((-gx, -gy, np.ones_like(gx)))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    open_ = np.clip(0.6 + 0.4 * inside / max(radius, 1), 0.6, 1).astype(np.float32)
    irradiance, specular = shade(light, normal, open_, open_)
    paint = albedo[y0:y1, x0:x1] if albedo.ndim == 3 else albedo
    cover = part.astype(np.float32) * np.float32(1 / 255)
    # What stands in front of others shades them around itself.
    soft = cv2.GaussianBlur(part, (0, 0), max(0.5 * radius, 0.8)).astype(np.float32)
    scene.image[y0:y1, x0:x1] *= (1 - soft * np.float32(0.35 / 255))[..., None]
    scene.put((irradiance * paint + specular * np.float32(0.02)).astype(np.float32), cover, box, skin=skin)
