"""Train, validation and test splits that keep groups whole and give every class its share.

Classes that share no group are split independently of each other, each group by a hash of its own name, so adding a
class moves nobody else. Within a class the larger groups are placed first, each where the most pictures are missing
(large means by powers of two, so that the seed still decides among sessions of like size); then single moves repair
what is missing and single moves and swaps bring small classes nearer to the fractions.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations

from visage.errors import ConfigError

SPLITS = ("train", "val", "test")
TRAIN, VAL, TEST = 0, 1, 2
REFINED_GROUPS = 40  # with more groups than this, the greedy placement is already within a percent


def split_groups(samples: Iterable[tuple[str, str]], fractions: Mapping[str, float], seed: int) -> dict[str, str]:
    """Assign every group to "train", "val" or "test"; the order of `samples` does not matter.

    A class with three groups or more is in every split of a fraction above 0, with two in train and test (train and
    val where test is 0), with one in train. Groups that several classes share stay whole; train still holds every
    class, and val and test hold as many classes as the search finds.

    Args:
        samples: (label, group) of every picture.
        fractions: of the pictures, for exactly "train", "val" and "test"; they add up to 1, train is above 0.
        seed: another seed, another split.

    Returns:
        The split of each group, in sorted order of the groups.

    Raises:
        ConfigError: the fractions cannot be used.
    """
    _check_fractions(fractions)
    shares = tuple(float(fractions[name]) for name in SPLITS)
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for (label, group), number in sorted(Counter(samples).items()):  # sorted: float sums must not depend on the order
        counts[group][label] = number
    result: dict[str, str] = {}
    for groups in _independent(counts):
        result |= _Component({group: counts[group] for group in groups}, shares, seed).solve()
    return dict(sorted(result.items()))


def _check_fractions(fractions: Mapping[str, float]) -> None:
    if set(fractions) != set(SPLITS):
        raise ConfigError(f"split fractions are for {sorted(fractions)}: give train, val and test")
    if min(fractions.values()) < 0 or fractions["train"] <= 0 or abs(sum(fractions.values()) - 1) > 1e-6:
        given = ", ".join(f"{name}={fractions[name]}" for name in SPLITS)
        raise ConfigError(f"split fractions {given}: they must add up to 1, none below 0 and train above 0")


def _independent(counts: Mapping[str, Mapping[str, int]]) -> Iterable[list[str]]:
    """Groups by connected classes: two classes are connected where a group holds pictures of both."""
    root: dict[str, str] = {}

    def find(label: str) -> str:
        while root.setdefault(label, label) != label:
            label = root[label]
        return label

    for labels in counts.values():
        first, *others = labels
        for other in others:
            root[find(other)] = find(first)
    components: dict[str, list[str]] = defaultdict(list)
    for group, labels in counts.items():
        components[find(next(iter(labels)))].append(group)
    return components.values()


class _Component:
    """One search: the classes that groups connect, most often a single class."""

    def __init__(self, counts: Mapping[str, Mapping[str, int]], shares: tuple[float, ...], seed: int) -> None:
        def rank(group: str) -> tuple[int, bytes]:
            digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
            return -sum(counts[group].values()).bit_length(), digest

        self.counts, self.shares = counts, shares
        self.groups = sorted(counts, key=rank)
        self.totals: Counter[str] = Counter()
        self.members: dict[str, list[str]] = defaultdict(list)
        for group in self.groups:
            self.totals.update(counts[group])
            for label in counts[group]:
                self.members[label].append(group)
        self.pictures = {label: [0, 0, 0] for label in self.totals}
        self.present = {label: [0, 0, 0] for label in self.totals}  # groups of the class in each split
        self.split: dict[str, int] = {}

    def solve(self) -> dict[str, str]:
        for group in self.groups:
            options = [split for split in (TRAIN, TEST, VAL) if self.shares[split] > 0]
            self._put(group, min(options, key=lambda split: self._cost_of_adding(group, split)))
        while self._improve(self._repairs()):
            pass
        sizes = {tuple(sorted(self.counts[group].items())) for group in self.groups}
        if len(self.groups) <= REFINED_GROUPS and len(sizes) > 1:
            while self._improve(self._refinements()):
                pass
        return {group: SPLITS[split] for group, split in self.split.items()}

    def _put(self, group: str, split: int) -> None:
        for sign, place in ((-1, self.split.get(group)), (1, split)):
            if place is not None:
                for label, number in self.counts[group].items():
                    self.pictures[label][place] += sign * number
                    self.present[label][place] += sign
        self.split[group] = split

    def _cost_of_adding(self, group: str, split: int) -> float:
        """The change of the summed squared deviations (over class size) when `group` joins `split`."""
        cost = 0.0
        for label, number in self.counts[group].items():
            missing = self.shares[split] * self.totals[label] - self.pictures[label][split]
            cost += number * (number - 2 * missing) / self.totals[label]
        return cost

    def _needs(self, label: str) -> list[int]:
        wanted = [split for split in (TRAIN, TEST, VAL) if self.shares[split] > 0]
        return wanted[: len(self.members[label])]

    def _score(self, labels: Iterable[str]) -> tuple[float, ...]:
        """What is to be as small as possible for `labels`: classes missing in train, test, val; then the deviation."""
        missing, deviation = [0, 0, 0], 0.0
        for label in labels:
            for split in self._needs(label):
                missing[split] += not self.present[label][split]
            for split, share in enumerate(self.shares):
                deviation += (self.pictures[label][split] - share * self.totals[label]) ** 2 / self.totals[label]
        return missing[TRAIN], missing[TEST], missing[VAL], deviation

    def _improve(self, changes: Iterable[dict[str, int]]) -> bool:
        """Make the change that lowers the score most (the first of equals); False where none lowers it."""
        best: dict[str, int] | None = None
        best_gain: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
        for change in changes:
            labels = sorted({label for group in change for label in self.counts[group]})
            before, undo = self._score(labels), {group: self.split[group] for group in change}
            for group, split in change.items():
                self._put(group, split)
            gain = tuple(round(after - old, 9) for after, old in zip(self._score(labels), before, strict=True))
            for group, split in undo.items():
                self._put(group, split)
            if gain < best_gain:
                best, best_gain = change, gain
        for group, split in (best or {}).items():
            self._put(group, split)
        return best is not None

    def _repairs(self) -> Iterable[dict[str, int]]:
        """Moves of one group of a class into a split that the class is missing from."""
        for label in sorted(self.totals):
            for split in self._needs(label):
                if not self.present[label][split]:
                    yield from ({group: split} for group in list(self.members[label]))

    def _refinements(self) -> Iterable[dict[str, int]]:
        for group in self.groups:
            yield from ({group: s} for s in range(3) if self.shares[s] > 0 and s != self.split[group])
        for one, other in combinations(self.groups, 2):
            if self.split[one] != self.split[other] and self.counts[one] != self.counts[other]:
                yield {one: self.split[other], other: self.split[one]}
