"""Batches for the loop, by this process or by loader processes that stay alive from epoch to epoch.

Loaders keep the pictures that they have decoded; made anew each epoch they would decode them all again.
"""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from visage.runtime import Runtime
from visage.training.plan import Key
from visage.training.task import Samples, as_dataset


class _Keys:
    """The batch sampler of a loader that outlives its epochs: whoever reads sets what comes next."""

    def __init__(self) -> None:
        self.batches: list[list[Key]] = []

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class Feed:
    """Collated batches of `samples`, made by `runtime.loaders` processes (0: by this one)."""

    def __init__(self, samples: Samples, runtime: Runtime) -> None:
        self.keys = _Keys()
        self.loader: DataLoader[Any] = DataLoader(
            as_dataset(samples),
            batch_sampler=self.keys,  # type: ignore[arg-type]
            num_workers=runtime.loaders,
            persistent_workers=runtime.loaders > 0,
            pin_memory=runtime.device == "cuda",
            # Samples that read whole batches (torch asks for `__getitems__`) have collated them too.
            collate_fn=_as_it_is if hasattr(samples, "__getitems__") else None,
        )

    def read(self, batches: list[list[Key]]) -> Iterator[Any]:
        """The samples at `batches`, each batch a tuple of tensors."""
        self.keys.batches = batches
        return iter(self.loader)


def _as_it_is(batch: Any) -> Any:
    return batch
