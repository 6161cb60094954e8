"""What a K-Hairstyle tree holds and lacks, told before an hour of preparing finds out."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from visage.errors import BadImageError, DataError
from visage.io.eye_frames import Rejected
from visage.io.headers import read_header
from visage.io.images import read_file
from visage.io.khairstyle import NO_LABEL, NO_PICTURE, SECOND_LABEL, list_tree, read_pairs, source_of
from visage.io.khairstyle_vocabulary import VOCABULARY

LEAST_SOURCES = 3  # one for each split
LEAST_SIDE = 512
SIZED = 200  # pictures whose size is looked at
SHOWN = 12  # words, or faults of a kind, that are named
BALANCED = ("natural-curl", "hair-width", "basestyle")


@dataclass
class Tree:
    """Counts of a tree. labels, pictures: files. missaved: labels under a picture's name. pairs: with hair or without.
    orphans: labels without a picture, pictures without a label. repeated: labels that differ from another of their
    picture. damaged: labels that cannot be read. no_hair, no_face: pairs with an empty polygon1, polygon2. small: of
    `SIZED` pictures those below 512. coverage: pairs that have a field. classes: of some fields, by word. unknown:
    words that the dictionary lacks, as "field=word". faults: of every kind the first files."""

    labels: int = 0
    pictures: int = 0
    missaved: int = 0
    pairs: int = 0
    sources: int = 0
    orphan_labels: int = 0
    orphan_pictures: int = 0
    repeated: int = 0
    damaged: int = 0
    no_hair: int = 0
    no_face: int = 0
    small: int = 0
    sized: int = 0
    coverage: Counter[str] = field(default_factory=Counter)
    classes: dict[str, Counter[str]] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def verdict(self) -> tuple[bool, str]:
        """Whether it can be prepared, and why not or with what reservation."""
        if not self.pairs - self.no_hair:
            return False, "not usable: no picture with hair has its label"
        if self.sources < LEAST_SOURCES:
            return False, f"not usable: {self.sources} sources, and a split needs {LEAST_SOURCES} at least"
        if self.small == self.sized:
            return True, f"usable with inpaint.prepare.min_side below {LEAST_SIDE} alone: no picture is larger"
        poor = [name for name in BALANCED[:2] if len(self.classes[name]) < 2]
        if poor:
            return True, f"usable, but for train_texture: {' and '.join(poor)} has fewer than two classes"
        return True, "usable"


def check_tree(root: Path) -> Tree:
    """Count what is in the tree below `root`.

    Raises:
        DataError: there is no such folder, or no label in it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder: give the folder of training/ and validation/")
    listed = labels, pictures = list_tree(root)
    tree = Tree(labels=len(labels), pictures=sum(map(len, pictures.values())))
    tree.missaved = sum(not label.lower().endswith(".json") for label in labels)
    tree.classes = {name: Counter() for name in BALANCED}
    sources: set[str] = set()
    for pair in read_pairs(root, listed):
        if isinstance(pair, Rejected):
            _count_fault(tree, pair)
            continue
        record = pair.record
        tree.pairs += 1
        sources.add(source_of(pair.picture, record))
        tree.no_hair += not record.hair
        tree.no_face += not record.face
        tree.coverage.update(name for name in VOCABULARY if name in record.attributes)
        tree.unknown.update(record.unknown)
        for name, counts in tree.classes.items():
            if name in record.attributes:
                counts[str(record.attributes[name])] += 1
        if tree.sized < SIZED:
            tree.sized += 1
            tree.small += _side(root, pair.picture) < LEAST_SIDE
    tree.sources = len(sources)
    return tree


def _count_fault(tree: Tree, fault: Rejected) -> None:
    if fault.reason.startswith(NO_PICTURE):
        tree.orphan_labels += 1
    elif fault.reason.startswith(NO_LABEL):
        tree.orphan_pictures += 1
    else:
        repeated = fault.reason.startswith(SECOND_LABEL)
        tree.repeated += repeated
        tree.damaged += not repeated
        if len(tree.faults) < SHOWN:
            tree.faults.append(f"{fault.sample_id}: {fault.reason}")


def _side(root: Path, picture: str) -> int:
    """The shorter side of a picture, 0 where it cannot be read."""
    try:
        header = read_header(read_file(root / picture, picture), picture)
    except BadImageError:
        return 0
    return min(header.height, header.width)


def describe(tree: Tree) -> list[str]:
    """`tree` as lines to print."""
    lines = [
        f"{tree.labels} labels ({tree.missaved} saved under a picture's name), {tree.pictures} pictures",
        f"{tree.pairs} pairs of {tree.sources} sources",
        f"{tree.orphan_labels} labels without a picture, {tree.orphan_pictures} pictures without a label",
        f"{tree.damaged} damaged labels, {tree.repeated} second labels that differ from the first",
        f"{tree.no_hair} pairs with no hair polygon, {tree.no_face} with no face polygon",
        f"{tree.small} of {tree.sized} pictures looked at are below {LEAST_SIDE} px",
    ]
    lines += [f"  {fault}" for fault in tree.faults]
    for name, counts in tree.classes.items():
        share = tree.coverage[name] / max(tree.pairs, 1)
        told = ", ".join(f"{word} {count}" for word, count in counts.most_common(SHOWN)) or "never given"
        lines.append(f"{name}: {share:.0%} of the pairs; {told}")
    lacking = [name for name in VOCABULARY if not tree.coverage[name]]
    if lacking:
        lines.append(f"fields that no label has: {', '.join(lacking)}")
    if tree.unknown:
        words = ", ".join(f"{word} ({count})" for word, count in tree.unknown.most_common(SHOWN))
        lines.append(f"words that the dictionary lacks: {words}; visage data translate")
    return lines
