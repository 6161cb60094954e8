"""From linear light to a file: defocus, vignette, tone curve, sensor noise and JPEG.

Nothing here looks at the picture's content (no auto exposure), so a bald picture and its twin differ only where hair
or its shadow was.
"""

from __future__ import annotations

import cv2
import numpy as np

from visage.synthetic.noise import Array, stream
from visage.synthetic.sessions import Session, View


def develop(image: Array, session: Session, view: View, exposure: float, out_size: int) -> Array:
    """Linear HxWx3 of the working size to display-referred float32 0..1 of `out_size`: all but noise and JPEG."""
    size = image.shape[0]
    blur = 0.6 + view.blur * size / 512
    image = cv2.GaussianBlur(image, (0, 0), blur * 0.75)
    if size != out_size:
        image = cv2.resize(image, (out_size, out_size), interpolation=cv2.INTER_AREA)
    axis = np.linspace(-1, 1, out_size, dtype=np.float32)
    vignette = 1 - np.float32(0.13) * (axis[None, :] ** 2 + axis[:, None] ** 2)
    image = image * (vignette * np.float32(exposure * view.exposure))[..., None]
    # Shoulder: linear to about 0.5, then rolling off, as cameras render skin highlights.
    image = image / (1 + image * np.float32(0.75))
    image = np.clip(image * np.float32(1.45), 0, 1) ** np.float32(1 / 2.2)
    contrast = np.float32(session.contrast)
    return np.clip((image - np.float32(0.45)) * contrast + np.float32(0.45), 0, 1)


def record(image: Array, session: Session, view: View) -> Array:
    """Sensor noise (luma and coarser chroma, from the view's stream alone) and a JPEG round trip; HxWx3 float32 0..1
    to uint8 RGB."""
    size = image.shape[0]
    rng = stream(view.seed, 41)
    strength = np.float32(session.noise * view.noise)
    luma = rng.standard_normal((size, size), dtype=np.float32)[..., None]
    coarse = rng.standard_normal((size // 2 + 1, size // 2 + 1, 3), dtype=np.float32)
    chroma = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)
    image = image + (luma + np.float32(0.45) * chroma) * strength * (np.float32(1.25) - image * np.float32(0.6))
    pixels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    quality = int(np.clip(session.jpeg_quality + view.jpeg_quality, 35, 98))
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[..., ::-1])
