"""Drawing many portraits: a specification in, a portrait out, in order, over worker processes.

A picture depends on its six numbers alone, so the result is the same for any worker count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from visage.synthetic.ordered import draw_ordered
from visage.synthetic.portrait import Portrait, clearer, render, sample_person, sample_session, sample_view


@dataclass(frozen=True)
class Spec:
    """Which picture: population `seed`, `person`, `session` and `picture` numbers (all >= 0), `size` in pixels, with
    or without hair; clarity is that of `HairStyle`."""

    seed: int
    person: int
    session: int
    picture: int
    size: int
    bald: bool = False
    clarity: float = 1.0


def draw(spec: Spec) -> Portrait:
    """Draw one portrait. ValueError for negative numbers or a size below 32."""
    if min(spec.seed, spec.person, spec.session, spec.picture) < 0:
        raise ValueError(f"{spec} has a negative number; seeds and indices start at 0")
    person = clearer(sample_person(spec.seed, spec.person), spec.clarity)
    session = sample_session(spec.seed, spec.person, spec.session)
    view = sample_view(spec.seed, spec.person, spec.session, spec.picture)
    return render(person, session, view, spec.size, bald=spec.bald)


def draw_many(specs: Iterable[Spec], workers: int | None = None) -> Iterator[Portrait]:
    """Portraits in the order of `specs`; see `visage.synthetic.ordered.draw_ordered`."""
    return draw_ordered(draw, specs, workers)
