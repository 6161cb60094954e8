"""Running sums over samples: what a loss and its statistics are kept as until an epoch ends.

They stay tensors of float64 on the device, because fetching a number from a GPU at every step makes it wait for the
CPU.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Sums = dict[str, Tensor]


def add(sums: Sums, values: Mapping[str, Tensor]) -> None:
    """Add `values` (scalars) to `sums` in place."""
    for name, value in values.items():
        wide = value.detach().double()
        sums[name] = sums[name] + wide if name in sums else wide


def weighed(loss: Tensor, stats: Mapping[str, Tensor], count: int, shown: int) -> Sums:
    """The sums of a batch of `shown` samples of which `count` count, the rest being repetitions."""
    share = count / shown
    scaled = {name: value.detach() * share for name, value in stats.items()}
    return {
        **scaled,
        "loss": loss.detach() * count,
        "count": torch.full((), count, dtype=torch.float64, device=loss.device),
    }


def as_floats(sums: Sums) -> dict[str, float]:
    """Plain numbers, fetched in one go."""
    if not sums:
        return {}
    values = torch.stack([value.reshape(()) for value in sums.values()]).tolist()
    return dict(zip(sums, values, strict=True))


def as_tensors(values: Mapping[str, float], device: torch.device) -> Sums:
    """The inverse of `as_floats`, exactly."""
    return {name: torch.tensor(value, dtype=torch.float64, device=device) for name, value in values.items()}


def merge(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The sums of several processes together, added in their order."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total
