"""The gate: whether what evaluate_inpainter measured is enough for a model that people may use."""

import math
from collections.abc import Mapping
from typing import Any

from visage.inpaint.tryout_config import Gate

# Each threshold, the number it judges, and whether that must be at least or at most so much.
JUDGED = (
    ("psnr", "psnr", "least"),
    ("over_inpaint", "over_inpaint", "least"),
    ("over_mean", "over_mean", "least"),
    ("delta_e", "delta_e", "most"),
    ("delta_e", "swapped_delta_e", "most"),
    ("texture_min", "texture", "least"),
    ("texture_max", "texture", "most"),
    ("lpips", "lpips", "most"),
)


def judge(gate: Gate, measured: Mapping[str, Any]) -> list[str]:
    """Why `measured` (the "gate" of evaluate_inpainter's metrics) does not pass; nothing where it does.

    A number that was not measured does not pass a threshold that is set.
    """
    reasons = []
    for threshold, name, side in JUDGED:
        limit = getattr(gate, threshold)
        if limit is None:
            continue
        value = measured.get(name)
        if not isinstance(value, int | float) or not math.isfinite(value):
            reasons.append(f"{name} was not measured, and gate.{threshold}={limit:g} asks for it")
        elif (value < limit) if side == "least" else (value > limit):
            reasons.append(f"{name} {value:g} is {'below' if side == 'least' else 'above'} gate.{threshold}={limit:g}")
    return reasons
