"""`visage jobs`: what is in the stores, whether it is whole, and how to be rid of it.

Everything is found out from the files. A store that a run is using is never touched: the run holds it shared, and
cleaning needs it alone.
"""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visage.errors import ConfigError
from visage.jobs.claim import alone
from visage.jobs.plan import read_digests
from visage.jobs.store import IDENTITY, IN_USE, PLANS, SHARDS, Store, jobs_root

DAY = 86_400.0


@dataclass(frozen=True)
class Queue:
    """One plan of one store. items, bad: of the jobs that are done. used: when it was last run, seconds since 1970."""

    work: str
    store: Path
    plan: str
    identity: dict[str, Any]
    jobs: int
    done: int
    items: int
    bad: int
    used: float

    @property
    def label(self) -> str:
        """The parameters that are plain values, and those alone, as key=value."""
        plain = {key: value for key, value in self.identity.items() if isinstance(value, int | float | str)}
        # A hash is known by its beginning.
        return " ".join(f"{key}={str(value)[:24]}" for key, value in plain.items())


def stores(root: Path | None = None) -> Iterator[tuple[str, Path, Store]]:
    """Every store under `root` (default: the repository's): the kind of work, its folder, and itself."""
    for path in sorted((root or jobs_root()).glob(f"*/*/{IDENTITY}")):
        try:
            identity = json.loads(path.read_bytes())
        except ValueError:
            identity = {}
        yield path.parent.parent.name, path.parent, Store(path.parents[2], path.parent.parent.name, identity)


def queues(root: Path | None = None) -> list[Queue]:
    """The state of every queue, the last one used first."""
    found = []
    for work, folder, store in stores(root):
        records = store.records()
        for path in folder.glob(f"{PLANS}/*/jobs_queue.csv"):
            digests = read_digests(path)
            done = [records[digest] for digest in digests if digest in records]
            counts = sum(record.n for record in done), sum(record.bad for record in done)
            used = path.parent.stat().st_mtime
            found.append(
                Queue(work, folder, path.parent.name, dict(store.identity), len(digests), len(done), *counts, used)
            )
    return sorted(found, key=lambda queue: -queue.used)


def verify(root: Path | None = None) -> tuple[int, int]:
    """Read every shard against its checksum; returns how many are whole, and how many were not and are removed."""
    whole = damaged = 0
    for _, folder, store in stores(root):
        for path in sorted((folder / SHARDS).glob("[!.]*.done")):
            if store.load(path.stem) is None:
                damaged += 1
            else:
                whole += 1
    return whole, damaged


def collect(root: Path | None = None, *, days: float, dry_run: bool = False) -> tuple[int, int]:
    """Remove the plans that no run used for `days` days, and every shard that no plan is left for.

    Returns:
        How many files go, and their bytes. Stores in use stay as they are.

    Raises:
        ConfigError: `days` is negative.
    """
    if days < 0:
        raise ConfigError(f"--days {days:g}: it must be at least 0")
    files = size = 0
    for _, folder, _store in stores(root):
        with alone(folder / IN_USE) as free:
            if not free:
                continue
            plans = list((folder / PLANS).glob("*"))
            old = [path for path in plans if time.time() - path.stat().st_mtime > days * DAY]
            wanted = {name for path in plans if path not in old for name in read_digests(path / "jobs_queue.csv")}
            gone = [path for path in (folder / SHARDS).glob("*") if path.name.split(".")[0] not in wanted]
            files, size = files + len(gone), size + sum(path.stat().st_size for path in gone)
            if not dry_run:
                for path in gone:
                    path.unlink(missing_ok=True)
                for path in old if wanted else [folder]:
                    shutil.rmtree(path)
    return files, size
