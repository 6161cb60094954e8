"""What is to be done: items, cut into jobs, written down once as jobs_queue.csv and never changed.

An item is known by a hash of its content and a job by the hash of its items, so that what a job is called already says
what its result must be: status needs no bookkeeping, it is whether a result of that name is there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from visage.io.atomic import sha256_bytes, write_csv

DIGEST_DIGITS = 32
COLUMNS = ("job_id", "first", "n", "digest")


@dataclass(frozen=True)
class Item:
    """One input. key: a hash of its content: equal keys have equal results. source: where the work finds it."""

    key: str
    source: str


@dataclass(frozen=True)
class Job:
    """Items `first` to `first` + n - 1 of the plan, done by one worker at a time; `digest` names the result."""

    index: int
    first: int
    items: tuple[Item, ...]
    digest: str


@dataclass(frozen=True)
class Plan:
    """All jobs, in the order in which their results are put together."""

    jobs: tuple[Job, ...]
    digest: str

    @property
    def items(self) -> int:
        """How many items there are."""
        return sum(len(job.items) for job in self.jobs)


def make_plan(items: Sequence[Item], items_per_job: int, fingerprint: str) -> Plan:
    """Cut `items`, in their order, into jobs of `items_per_job`, the last one possibly smaller.

    `fingerprint` is the hash of the parameters and the code that decide the results.
    """
    jobs = []
    for index, first in enumerate(range(0, len(items), items_per_job)):
        part = tuple(items[first : first + items_per_job])
        jobs.append(Job(index, first, part, job_digest(fingerprint, [item.key for item in part])))
    return Plan(tuple(jobs), _digest(fingerprint, [job.digest for job in jobs]))


def job_digest(fingerprint: str, keys: Sequence[str]) -> str:
    """The name of the result of items `keys`, 32 hexadecimal digits."""
    return _digest(fingerprint, keys)


def write_plan(plan: Plan, path: Path) -> None:
    """Write jobs_queue.csv, unless it is there as it has to be; a damaged one is replaced."""
    rows = [
        {"job_id": f"job_{job.index:06d}", "first": job.first, "n": len(job.items), "digest": job.digest}
        for job in plan.jobs
    ]
    if read_digests(path) != [job.digest for job in plan.jobs]:
        write_csv(path, rows, COLUMNS)


def read_digests(path: Path) -> list[str]:
    """The jobs' digests of a jobs_queue.csv in order; empty where there is none."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.rpartition(",")[2] for line in lines[1:]]


def _digest(fingerprint: str, parts: Sequence[str]) -> str:
    return sha256_bytes(json.dumps([fingerprint, *parts]).encode())[:DIGEST_DIGITS]
