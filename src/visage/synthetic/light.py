"""Light of a session and the shading of surfaces under it.

Everything is linear light; subsurface scattering is a per-channel wrap (red reaches round the terminator further than
blue), which costs three multiplies and gives skin its warm shadow edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visage.synthetic.noise import Array, Plane

Vec = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """Directions are unit vectors to the light in the camera's frame (x right, y down, z to the viewer); colours are
    linear RGB."""

    key_dir: Vec
    key: Vec
    fill_dir: Vec
    fill: Vec
    rim_dir: Vec
    rim: Vec
    sky: Vec
    ground: Vec
    softness: float
    exposure: float


def direction(azimuth: float, elevation: float) -> Vec:
    """Unit vector to a light, radians: azimuth 0 is the camera's side and grows to image right, elevation grows
    upwards."""
    c = np.cos(elevation)
    return float(c * np.sin(azimuth)), float(-np.sin(elevation)), float(c * np.cos(azimuth))


def temperature(warmth: float, strength: float) -> Vec:
    """Linear RGB of a light of the given strength; warmth -1 (cool sky) .. 1 (tungsten)."""
    return strength * (1 + 0.28 * warmth), strength, strength * (1 - 0.34 * warmth)


def sample_light(rng: np.random.Generator) -> Light:
    """Light of one session: key with direction, colour and hardness, a fill, often a rim or back light, sky and
    ground bounce."""
    azimuth = float(rng.uniform(-1.25, 1.25))
    warmth = float(np.clip(rng.normal(0.1, 0.5), -1, 1))
    contrast = float(rng.uniform(0.15, 1.0))
    ambient = 0.62 - 0.42 * contrast
    tint = temperature(float(np.clip(rng.normal(-0.3 * warmth, 0.35), -1, 1)), ambient)
    bounce = rng.uniform(0.35, 0.9) * np.asarray(tint) * rng.uniform(0.85, 1.15, 3)
    rim = float(rng.uniform(0.5, 2.2)) if rng.random() < 0.45 else 0.0
    key = 0.5 + 0.75 * contrast
    mean = ambient * 0.8 + key * 0.55
    return Light(
        direction(azimuth, float(rng.uniform(-0.05, 1.0))), temperature(warmth, key),
        direction(-0.7 * np.sign(azimuth) + 0.3 * rng.normal(), 0.2), temperature(float(rng.normal(0, 0.4)),
        0.22 * float(rng.random())),
        direction(float(rng.choice((-1, 1)) * rng.uniform(1.9, 2.7)), float(rng.uniform(0.0, 0.8))),
        temperature(float(np.clip(rng.normal(0, 0.5), -1, 1)), rim),
        tint, (float(bounce[0]), float(bounce[1]), float(bounce[2])), float(rng.uniform(0.02, 0.12)),
        float(np.exp(rng.normal(0.0, 0.2)) / mean),
    )  # fmt: skip


def shade(
    light: Light,
    normal: Array,
    occlusion: Plane,
    shadow: Plane,
    wrap: Vec = (0.30, 0.16, 0.10),
    gloss: float = 28.0,
) -> tuple[Array, Array]:
    """Irradiance and specular reflection, HxWx3 float32 each, of a surface with camera-frame unit `normal` (HxWx3).

    `occlusion` (HxW, 1 open .. 0 closed) dims sky and ground, `shadow` (HxW, 1 lit .. 0 shadowed) the key alone. The
    specular lobe is Blinn-Phong of exponent `gloss`, viewer at infinity, to be scaled by the material.
    """
    nx, ny, nz = normal[..., 0], normal[..., 1], normal[..., 2]
    up = (0.5 - 0.5 * ny) * occlusion
    down = occlusion - up
    irradiance = np.empty(normal.shape, np.float32)
    specular = np.zeros(normal.shape, np.float32)
    lamps = [(light.key_dir, light.key, shadow), (light.fill_dir, light.fill, occlusion)]
    if max(light.rim) > 0:
        lamps.append((light.rim_dir, light.rim, occlusion))
    for c in range(3):
        np.multiply(up, light.sky[c], out=irradiance[..., c])
        irradiance[..., c] += down * np.float32(light.ground[c])
    for (lx, ly, lz), colour, visible in lamps:
        cosine = nx * np.float32(lx) + ny * np.float32(ly) + nz * np.float32(lz)
        for c in range(3):
            k = np.float32(wrap[c])
            irradiance[..., c] += np.maximum((cosine + k) / (1 + k), 0) * visible * np.float32(colour[c])
        half = np.array((lx, ly, lz + 1.0), np.float32)
        half /= np.linalg.norm(half) + 1e-6
        lobe = np.maximum(nx * half[0] + ny * half[1] + nz * half[2], 0) ** np.float32(gloss)
        lobe *= visible * (cosine > 0)
        for c in range(3):
            specular[..., c] += lobe * np.float32(colour[c])
    return irradiance, specular
