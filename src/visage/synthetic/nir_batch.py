"""Drawing many near-infrared eyes: a specification in, an eye out, in order, over worker processes.

Each worker keeps the subjects it has met, so drawing a sequence of one wearer samples the wearer once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from visage.synthetic.nir_eye import Eye, render
from visage.synthetic.nir_params import Subject, sample_frame, sample_subject
from visage.synthetic.ordered import draw_ordered


@dataclass(frozen=True)
class EyeSpec:
    """Which picture: population `seed`, `subject` and `frame` numbers, all >= 0."""

    seed: int
    subject: int
    frame: int


def draw_eye(spec: EyeSpec) -> Eye:
    """Draw one eye. ValueError for negative numbers."""
    if min(spec.seed, spec.subject, spec.frame) < 0:
        raise ValueError(f"{spec} has a negative number; seeds and indices start at 0")
    subject = _subject(spec.seed, spec.subject)
    return render(subject, sample_frame(spec.seed, subject, spec.frame))


def draw_eyes(specs: Iterable[EyeSpec], workers: int | None = None) -> Iterator[Eye]:
    """Eyes in the order of `specs`; see `visage.synthetic.ordered.draw_ordered`."""
    return draw_ordered(draw_eye, specs, workers)


@lru_cache(maxsize=64)
def _subject(seed: int, subject: int) -> Subject:
    return sample_subject(seed, subject)
