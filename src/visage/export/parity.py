"""Parity: an exported file answers like the eager model, on real inputs.

The difference is reported as the power of ten above it: the digits below change with threads and processors, and
model.json is compared byte for byte.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from visage.errors import VisageError

# Relative to the largest logit. float32 in another order of sums differs by 5e-7 (mobilenet_v3_small) to 1e-5; a graph
# that computes something else (a batch norm left in training mode, a padding, a branch fixed at tracing) by over 1e-2.
TOLERANCE = 1e-3
# Whatever the logits are: it moves no probability by more than that. A network that has hardly learned gives logits so
# small that rounding inside it is more than a thousandth of them.
LEAST = 1e-4

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def check_parity(
    name: str, run: Run, batches: Sequence[NDArray[np.float32]], expected: Sequence[NDArray[np.float32]]
) -> dict[str, float]:
    """Compare `run` with the expected logits, float32 (N, K, ...), batch by batch.

    Returns max_abs_diff (rounded up to a power of ten) and argmax_agreement, the share of equal decisions.

    Raises:
        VisageError: a batch cannot be run, has another shape, or differs by more than `TOLERANCE` of the largest logit
            and more than `LEAST`.
    """
    largest, agree, decisions = 0.0, 0, 0
    for batch, reference in zip(batches, expected, strict=True):
        shape = "x".join(map(str, batch.shape))
        try:
            logits = run(batch)
        except Exception as error:  # torch and ONNX Runtime each raise their own kinds
            raise VisageError(f"{name}: the exported model fails on a batch of {shape} ({_line(error)})") from error
        if logits.shape != reference.shape:
            raise VisageError(f"{name}: a batch of {shape} gives {logits.shape}, the eager model {reference.shape}")
        diff = float(np.abs(logits - reference).max())
        allowed = max(TOLERANCE * float(np.abs(reference).max()), LEAST)
        if not diff <= allowed:  # written so that NaN is refused too
            raise VisageError(
                f"{name}: logits differ from the eager model by {diff:.3g} on a batch of {shape}, where at most "
                f"{allowed:.3g} is allowed: look for code that depends on the batch size or on values"
            )
        largest = max(largest, diff)
        agree += int((_decide(logits) == _decide(reference)).sum())
        decisions += _decide(reference).size
    return {"max_abs_diff": _power_of_ten_above(largest), "argmax_agreement": agree / decisions}


def _decide(logits: NDArray[np.float32]) -> NDArray[np.integer] | NDArray[np.bool_]:
    """The class with the largest logit, or with one channel whether it is above 0."""
    return logits.argmax(axis=1) if logits.shape[1] > 1 else logits > 0


def _power_of_ten_above(value: float) -> float:
    return float(f"1e{math.ceil(math.log10(value))}") if value > 0 else 0.0


def _line(error: Exception) -> str:
    """The first line of a message that may have hundreds."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
