"""The originals of a K-Hairstyle tree: which there are, and how many patches each of a source's pictures keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from visage.io.eye_frames import Rejected
from visage.io.hair_frames import Attribute
from visage.io.khairstyle import Pair, read_pairs, source_of

NO_HAIR = "no hair"  # how the reason of an original without hair begins: nothing to paint, and no fault


@dataclass(frozen=True)
class Original:
    """A picture with its label; what the assembly needs of the record, without the polygons."""

    picture: str
    label: str
    source: str
    attributes: Mapping[str, Attribute]
    unknown: tuple[str, ...]
    faced: bool


def list_originals(root: Path) -> tuple[list[Original], list[Rejected]]:
    """The originals that have hair, and what is refused before any picture is decoded.

    Raises:
        DataError: there is no label.
    """
    originals: list[Original] = []
    bad: list[Rejected] = []
    for pair in read_pairs(root):
        if isinstance(pair, Rejected):
            bad.append(pair)
        elif not pair.record.hair:
            bad.append(Rejected(pair.picture, f"{NO_HAIR} (its polygon1 is empty): nothing to learn from it"))
        else:
            originals.append(_original(pair))
    return originals, bad


def _original(pair: Pair) -> Original:
    record = pair.record
    return Original(
        pair.picture,
        pair.label,
        source_of(pair.picture, record),
        record.attributes,
        record.unknown,
        bool(record.face),
    )


def shared_out(originals: Sequence[Original], counts: Sequence[int], at_most: int) -> list[int]:
    """How many of its `counts` patches each original keeps: `at_most` of a source, dealt out one by one to its pictures
    in order, so that none of them has all."""
    kept = [0] * len(originals)
    room = {original.source: at_most for original in originals}
    dealt = True
    while dealt:
        dealt = False
        for index, original in enumerate(originals):
            if kept[index] < counts[index] and room[original.source]:
                kept[index] += 1
                room[original.source] -= 1
                dealt = True
    return kept
