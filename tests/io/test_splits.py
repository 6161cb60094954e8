"""Splits: groups whole, every class represented, no dependence on order, near the fractions, classes independent."""

import time
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visage.errors import ConfigError
from visage.io.splits import SPLITS, split_groups

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
SIZES = st.dictionaries(
    st.sampled_from("ABCD"), st.lists(st.integers(1, 12), min_size=1, max_size=7), min_size=1, max_size=4
)
SHARED = st.lists(st.tuples(st.sampled_from("ABCDE"), st.sampled_from([f"g{i}" for i in range(12)])), min_size=1)


def samples(sizes: dict[str, list[int]]) -> list[tuple[str, str]]:
    return [
        (label, f"{label}/{index}")
        for label, groups in sizes.items()
        for index, n in enumerate(groups)
        for _ in range(n)
    ]


def classes_in(pairs: list[tuple[str, str]], splits: dict[str, str]) -> dict[str, set[str]]:
    found = defaultdict(set)
    for label, group in pairs:
        found[label].add(splits[group])
    return found


@given(SIZES, st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_every_class_is_in_as_many_splits_as_it_has_groups(sizes, seed):
    splits = split_groups(samples(sizes), FRACTIONS, seed)
    found = classes_in(samples(sizes), splits)
    for label, groups in sizes.items():
        wanted = {1: {"train"}, 2: {"train", "test"}}.get(len(groups), set(SPLITS))
        assert found[label] == wanted


@given(SHARED, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_order_does_not_matter_and_every_class_is_in_train(pairs, random):
    splits = split_groups(pairs, FRACTIONS, 3)
    assert set(splits) == {group for _, group in pairs}
    assert all("train" in found for found in classes_in(pairs, splits).values())
    shuffled = list(pairs)
    random.shuffle(shuffled)
    assert split_groups(shuffled, FRACTIONS, 3) == splits


@given(SIZES, st.lists(st.integers(1, 12), min_size=1, max_size=7))
@settings(max_examples=40, deadline=None)
def test_another_class_moves_nobody(sizes, more):
    before = split_groups(samples(sizes), FRACTIONS, 7)
    after = split_groups(samples(sizes | {"new": more}), FRACTIONS, 7)
    assert {group: after[group] for group in before} == before


def test_sessions_of_one_size_are_split_exactly():
    splits = split_groups(samples({"A": [10] * 5}), FRACTIONS, 0)
    assert sorted(splits.values()) == ["test", "train", "train", "train", "val"]


@pytest.mark.parametrize("sizes", [[40, 7, 3, 3, 3, 2, 1, 1], [30, 10, 10, 10], [9, 8, 7, 6, 5, 4, 3, 2, 1]])
def test_unequal_groups_come_near_the_fractions(sizes):
    splits = split_groups(samples({"A": sizes}), FRACTIONS, 1)
    for split, fraction in FRACTIONS.items():
        pictures = sum(size for index, size in enumerate(sizes) if splits[f"A/{index}"] == split)
        assert abs(pictures / sum(sizes) - fraction) < 0.12


def test_the_seed_decides_among_like_groups():
    assert len({tuple(split_groups(samples({"A": [10] * 5}), FRACTIONS, seed).items()) for seed in range(10)}) > 3


def test_a_group_of_two_classes_stays_whole_and_both_classes_are_everywhere():
    pairs = [*samples({"A": [5] * 4, "B": [5] * 4}), ("A", "A/0"), ("B", "A/0")]
    splits = split_groups(pairs, FRACTIONS, 0)
    assert all(found == set(SPLITS) for found in classes_in(pairs, splits).values())


def test_a_fraction_of_zero_leaves_its_split_empty():
    splits = split_groups(samples({"A": [3] * 6}), {"train": 0.5, "val": 0, "test": 0.5}, 0)
    assert sorted(splits.values()) == ["test"] * 3 + ["train"] * 3
    assert set(split_groups(samples({"A": [3] * 2}), {"train": 0.5, "val": 0.5, "test": 0}, 0).values()) == {
        "train",
        "val",
    }


def test_fifty_thousand_pictures_without_sessions_take_seconds():
    start = time.monotonic()
    splits = split_groups([("A", str(index)) for index in range(50_000)], FRACTIONS, 0)
    assert time.monotonic() - start < 20
    assert sum(split == "train" for split in splits.values()) == 30_000


@pytest.mark.parametrize(
    "fractions",
    [
        {"train": 0.6, "val": 0.2, "test": 0.3},
        {"train": 0.0, "val": 0.5, "test": 0.5},
        {"train": 1.2, "val": -0.2, "test": 0.0},
        {"train": 1.0},
    ],
)
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(ConfigError, match="fractions"):
        split_groups([("A", "a")], fractions, 0)
