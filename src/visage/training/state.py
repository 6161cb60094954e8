"""The position of a run: what the loop needs beside the weights to go on exactly where it was.

The running sums of a half-finished epoch are part of it, one row per process, so that the epoch's training metrics
after a kill are the numbers of an uninterrupted run to the last bit.
"""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Progress:
    """`epoch` and `step` are the next to do.

    `seconds` were spent on the epoch so far; `sums` holds each process's running sums of it;
    `total_seconds` were spent on the epochs before.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = -1
    best_value: float = 0.0
    stale_epochs: int = 0
    done: bool = False
    seconds: float = 0.0
    total_seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    sums: list[dict[str, float]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    def improves(self, value: float, mode: str) -> bool:
        """Whether `value` is better than the best so far ("max" or "min"); the first value always is."""
        if self.best_epoch < 0:
            return True
        return value > self.best_value if mode == "max" else value < self.best_value
