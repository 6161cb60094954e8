"""Numbers as metrics files hold them: rounded, so that a last bit shows no change, and never a number for "unknown"."""

import math
from typing import Any

DECIMALS = 4
NOT_MEASURED = "not measured"


def rounded(value: Any, decimals: int = DECIMALS) -> Any:
    """`value` with every float in it rounded, and "not measured" for what is not finite; mappings are copied."""
    if isinstance(value, dict):
        return {name: rounded(inner, decimals) for name, inner in value.items()}
    if isinstance(value, float):
        return round(value, decimals) if math.isfinite(value) else NOT_MEASURED
    return value
