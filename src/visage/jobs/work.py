"""What a kind of work has to say of itself to be done in jobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from visage.io.atomic import sha256_bytes
from visage.jobs.plan import Item


@dataclass(frozen=True)
class Outcome:
    """The results of some items. arrays: each with one row an item. errors: "" for a good item, else what is wrong.

    The rows of a bad item are there too, and mean nothing.
    """

    arrays: Mapping[str, np.ndarray]
    errors: Sequence[str]


Compute = Callable[[Sequence[Item]], Outcome]


class Work(Protocol):
    """One kind of work, picklable, because it is handed to worker processes.

    name: the folder of its results. `identity` is JSON-able and holds everything that decides a result beside the item:
    parameters, hashes of weights, the version of the code. `open` is called once in each worker; what it returns must
    give an item the same bits whatever other items are computed with it.
    """

    @property
    def name(self) -> str: ...

    def identity(self) -> Mapping[str, Any]: ...

    def open(self) -> Compute: ...


def code_version(*files: str | Path) -> str:
    """A hash of source files: whoever changes one of them need not remember to change a version number."""
    return sha256_bytes(b"\0".join(Path(file).read_bytes() for file in files))[:16]
