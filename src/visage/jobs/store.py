"""Finished work: a packed shard (NPZ) for each job with a `.done` record beside it, both written atomically.

The record is the only sign that a job is done, and nothing in it is believed: the job's name must be the hash of the
items that it lists, and the shard must have the checksum that it gives. So a shard that was cut short, or of which a
bit has flipped, is a job that is not done. Items are also found in the shards of other plans with the same fingerprint:
a picture added to a folder costs one picture.
"""

import io
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from visage.errors import DataError
from visage.io.atomic import TMP_MARK, sha256_bytes, write_bytes, write_json
from visage.jobs.claim import claim, hold
from visage.jobs.plan import Job, Plan, job_digest, write_plan
from visage.jobs.work import Outcome

ERRORS = "errors"  # the array of a shard that holds the items' errors
CHECK = "check"  # the entry of a record with the checksum of all the others
SHARDS, CLAIMS, PLANS, IDENTITY, IN_USE = "shards", "claims", "plans", "identity.json", "in_use.lock"


@dataclass(frozen=True)
class Record:
    """What a `.done` file says. items: keys in order. seconds: spent computing. computed: items not found elsewhere."""

    fingerprint: str
    sha256: str
    bytes: int
    n: int
    bad: int
    computed: int
    seconds: float
    worker: str
    items: tuple[str, ...]


def jobs_root() -> Path:
    """Where all stores are: one place for the workspace and its temporary and queued experiments."""
    return Path(os.environ.get("DVC_ROOT") or ".").absolute() / ".visage" / "jobs"


class Store:
    """The results of one kind of work with one set of parameters, in `root`/`name`/<fingerprint>/."""

    def __init__(self, root: Path, name: str, identity: Mapping[str, Any]) -> None:
        self.identity = identity
        self.fingerprint = sha256_bytes(json.dumps([name, identity], sort_keys=True).encode())[:16]
        self.folder = root / name / self.fingerprint

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While this is held, `visage jobs gc` leaves the store alone."""
        with hold(self.folder / IN_USE, shared=True):
            yield

    def prepare(self, plan: Plan) -> None:
        """Make the folders, write down the parameters and the plan, and sweep what killed processes left."""
        for name in (SHARDS, CLAIMS):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        with hold(self.folder / "prepare.lock"):
            for orphan in self.folder.rglob(f".*{TMP_MARK}*"):
                if orphan.parent.name != SHARDS:
                    orphan.unlink(missing_ok=True)
            write_json(self.folder / IDENTITY, self.identity)
            write_plan(plan, self.folder / PLANS / plan.digest / "jobs_queue.csv")
            os.utime(self.folder / PLANS / plan.digest)  # when it was last used, for `visage jobs gc`
        self.sweep()

    def sweep(self) -> int:
        """Remove half-written shards and claims of processes that are gone; returns how many shards."""
        orphans = list((self.folder / SHARDS).glob(f".*{TMP_MARK}*"))
        removed = 0
        for orphan in orphans:
            # Only who holds a job's claim writes its files, so the claim tells an orphan from a file in the making.
            with self.claim(orphan.name[1:].partition(".")[0]) as held:
                if held:
                    orphan.unlink(missing_ok=True)
                    removed += 1
        for lock in (self.folder / CLAIMS).iterdir():
            with claim(lock):
                pass
        return removed

    def claim(self, digest: str) -> Any:
        """A context manager that tells whether this process now holds the job `digest`."""
        return claim(self.folder / CLAIMS / f"{digest}.lock")

    def record(self, digest: str) -> Record | None:
        """The record of a job whose result is there; None where it is not, or plainly is not whole."""
        try:
            values = json.loads((self.folder / SHARDS / f"{digest}.done").read_bytes())
            whole = values.pop(CHECK) == _check(values)
            record = Record(**{**values, "items": tuple(values["items"])})
            honest = record.fingerprint == self.fingerprint and job_digest(self.fingerprint, record.items) == digest
            size = self._shard(digest).stat().st_size
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return record if whole and honest and size == record.bytes else None

    def records(self) -> dict[str, Record]:
        """Every job that is done."""
        names = sorted(path.stem for path in (self.folder / SHARDS).glob("*.done") if not path.name.startswith("."))
        found = {name: self.record(name) for name in names}
        return {name: record for name, record in found.items() if record is not None}

    def index(self) -> dict[str, tuple[str, int]]:
        """For each item that has a result: the shard and the row."""
        return {key: (digest, row) for digest, record in self.records().items() for row, key in enumerate(record.items)}

    def commit(self, job: Job, outcome: Outcome, *, seconds: float, computed: int) -> None:
        """Write a job's shard and then its record; the caller holds the job's claim."""
        assert all(len(array) == len(job.items) for array in [*outcome.arrays.values(), outcome.errors])
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {**outcome.arrays, ERRORS: np.array(outcome.errors, dtype=np.str_)}
        np.savez(buffer, **arrays)
        content = buffer.getvalue()
        record = {
            "fingerprint": self.fingerprint,
            "sha256": sha256_bytes(content),
            "bytes": len(content),
            "n": len(job.items),
            "bad": sum(bool(error) for error in outcome.errors),
            "computed": computed,
            "seconds": round(seconds, 3),
            "worker": f"{socket.gethostname()}:{os.getpid()}",
            "items": [item.key for item in job.items],
        }
        write_bytes(self._shard(job.digest), content)
        write_json(self.folder / SHARDS / f"{job.digest}.done", {**record, CHECK: _check(record)})

    def load(self, digest: str) -> Outcome | None:
        """A job's results, checked against their checksum; None, and both files removed, where they are damaged."""
        content = self._content(digest)
        if content is None:
            with self.claim(digest) as held:  # who holds it is about to write both files anew
                if held and self._content(digest) is None:
                    self._discard(digest)
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as shard:
            arrays = {name: shard[name] for name in shard.files}
        return Outcome(arrays, arrays.pop(ERRORS).tolist())

    def _content(self, digest: str) -> bytes | None:
        """A job's shard, None where it is not what the record says."""
        record = self.record(digest)
        try:
            content = self._shard(digest).read_bytes()
        except OSError:
            return None
        return content if record is not None and sha256_bytes(content) == record.sha256 else None

    def _discard(self, digest: str) -> None:
        """Forget a job's result, the record first; the caller holds the job's claim."""
        (self.folder / SHARDS / f"{digest}.done").unlink(missing_ok=True)
        self._shard(digest).unlink(missing_ok=True)

    def _shard(self, digest: str) -> Path:
        return self.folder / SHARDS / f"{digest}.npz"


def _check(record: Mapping[str, Any]) -> str:
    return sha256_bytes(json.dumps(record, sort_keys=True).encode())


class Reader:
    """Results of single items, wherever in a store they are; the last few shards are kept."""

    def __init__(self, store: Store) -> None:
        self.index = store.index()
        self.load = lru_cache(maxsize=8)(store.load)

    def find(self, key: str) -> tuple[dict[str, np.ndarray], str] | None:
        """An item's row of each array and its error, None where no whole shard has it."""
        if key not in self.index:
            return None
        digest, row = self.index[key]
        outcome = self.load(digest)
        if outcome is None:
            return None
        return {name: array[row] for name, array in outcome.arrays.items()}, outcome.errors[row]


def merged(parts: Sequence[tuple[dict[str, np.ndarray], str]]) -> Outcome:
    """One outcome of items' rows.

    Raises:
        DataError: there is no item.
    """
    if not parts:
        raise DataError("no items: there is nothing to put together")
    arrays = {name: np.stack([rows[name] for rows, _ in parts]) for name in parts[0][0]}
    return Outcome(arrays, [error for _, error in parts])
