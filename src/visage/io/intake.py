"""What preparing any data set of labelled pictures has in common: work spread over threads, and what is too little.

The data of a domain differ in what a sample holds; how many may be bad, and that no split may stay empty, do not.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from visage.errors import DataError
from visage.io.eye_frames import Rejected

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """What `work` makes of `items`, in order, over threads (OpenCV frees the GIL), two items to each at most."""
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) >= 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def check_usable(
    good: int, faulty: Sequence[Rejected], others: Sequence[Rejected], limit: float, section: str, noun: str, file: Path
) -> None:
    """Refuse a set with too many faulty samples, or without a good one.

    others: rejected ones that are no fault, named only where there is nothing else to name. limit: the largest share of
    `faulty`, which `section`.max_bad_fraction gives. noun: what a sample is called. file: where all are listed.

    Raises:
        DataError: as said.
    """
    fraction = len(faulty) / max(1, good + len(faulty))
    first = "; ".join(f"{entry.sample_id}: {entry.reason.split(': ')[0]}" for entry in (faulty or others)[:3])
    where = f"first: {first}; all are in {file}"
    if fraction > limit:
        raise DataError(
            f"{len(faulty)} of {good + len(faulty)} {noun}s are bad ({fraction:.1%}, {where}): repair or remove them, "
            f"or raise {section}.max_bad_fraction ({limit})"
        )
    if not good:
        raise DataError(f"no usable {noun} ({where}): repair them")


def count_reasons(bad: Iterable[Rejected]) -> dict[str, int]:
    """How many were rejected for each fault, without the details in a reason, in order of the faults."""
    return dict(sorted(Counter(re.split(r": | \(", entry.reason)[0] for entry in bad).items()))


def check_splits(
    rows: Sequence[Mapping[str, Any]], fractions: Mapping[str, float], section: str, root: str, source: str
) -> None:
    """Refuse a division that leaves a wanted split empty; `source` says what a source of the data at `root` is.

    Raises:
        DataError: names the split, and `section`'s key that would leave it out.
    """
    sources = len({row["source"] for row in rows})
    for split, fraction in fractions.items():
        if fraction > 0 and not any(row["split"] == split for row in rows):
            raise DataError(
                f"{root}: nothing is left for {split}: {sources} sources are too few (a source is "
                f"{source}): add some, or set {section}.{split} to 0"
            )
