"""The infrared camera: optics, exposure, tone curve, noise and compression, from scene greys to a uint8 picture.

`tone` is the same curve for a picture and for two numbers, so that the contrast guard judges what the sensor will make
of a subject before anything is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from visage.synthetic.noise import Array, blur


@dataclass(frozen=True)
class Sensor:
    """Gain, gamma, optical blur (sigma in pixels), read noise (sd in greys), shot noise (sd in greys per root grey),
    JPEG quality (0 for none)."""

    gain: float
    gamma: float
    blur: float
    noise: float
    shot: float
    jpeg_quality: int


def tone(grey: float, sensor: Sensor, exposure: float = 1.0) -> float:
    """The picture grey 0..255 of a scene grey."""
    return float(255 * min(grey * sensor.gain * exposure / 255, 1.0) ** sensor.gamma)


def expose(
    scene: Array, sensor: Sensor, exposure: float, motion: tuple[float, float], rng: np.random.Generator
) -> Array:
    """HxW float32 scene greys to HxW uint8; `motion` is a streak's (length in pixels, angle in radians)."""
    if motion[0] > 0:
        scene = cv2.filter2D(scene, -1, _streak(*motion), borderType=cv2.BORDER_REPLICATE)
    scene = blur(scene, sensor.blur)
    scene = np.clip(scene * np.float32(sensor.gain * exposure / 255), 0, 1)
    picture = cv2.pow(scene, sensor.gamma) * np.float32(255)
    variance = picture * np.float32(sensor.shot**2) + np.float32(sensor.noise**2)
    picture += cv2.sqrt(variance) * rng.standard_normal(picture.shape, dtype=np.float32)
    picture8 = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    if sensor.jpeg_quality:
        _, data = cv2.imencode(".jpg", picture8, [cv2.IMWRITE_JPEG_QUALITY, sensor.jpeg_quality])
        picture8 = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
    return picture8


def _streak(length: float, angle: float) -> Array:
    size = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((size, size), np.uint8)
    half, middle = length / 2 - 0.5, size // 2
    dx, dy = half * np.cos(angle) * 16, half * np.sin(angle) * 16
    ends = [(round(middle * 16 + sign * dx), round(middle * 16 + sign * dy)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 255, 1, cv2.LINE_AA, 4)
    return kernel.astype(np.float32) / np.float32(kernel.sum())
