"""Work for the tests: numbers from strings, slow or deadly on request."""

import errno
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from visage.errors import DataError
from visage.jobs.plan import Item
from visage.jobs.work import Compute, Outcome


@dataclass(frozen=True)
class ToyWork:
    """A vector of random numbers for each item's key. log: a file that gets a line for each computed item."""

    parameter: int = 1
    version: str = "1"
    seconds: float = 0.0
    log: str = ""
    name: str = "toy"

    def identity(self) -> Mapping[str, Any]:
        return {"parameter": self.parameter, "code": self.version}

    def open(self) -> Compute:
        return self.compute

    def compute(self, items: Sequence[Item]) -> Outcome:
        time.sleep(self.seconds)
        for item in items:
            self.harm(item)
        values = [np.random.default_rng([self.parameter, *sha256(i.key.encode()).digest()]).random(16) for i in items]
        errors = ["bad input" if "bad" in item.source else "" for item in items]
        if self.log:
            descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, "".join(f"{item.key}\n" for item in items).encode())
            os.close(descriptor)
        return Outcome({"values": np.stack(values).astype(np.float32)}, errors)

    def harm(self, item: Item) -> None:
        """What the item's source asks for: "deed" or "deed:path", where the file at path gets a line each time."""
        deed, _, path = item.source.partition(":")
        if path:
            with open(path, "a") as file:
                file.write("tried\n")
        if deed in ("SIGSEGV", "SIGKILL"):
            os.kill(os.getpid(), getattr(signal, deed))
        if deed == "bug":
            raise KeyError("a fault of the code")
        if deed == "exit":
            raise SystemExit(0)
        if deed == "broken pipe":
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        if deed == "mistake":
            raise DataError("weights of the toy are missing")
        if deed == "broken disk" or (deed == "flaky" and len(Path(path).read_text().splitlines()) < 3):
            raise OSError(errno.EIO, "Input/output error")


def items(count: int, source: str = "") -> list[Item]:
    return [Item(f"key{index}", source) for index in range(count)]
