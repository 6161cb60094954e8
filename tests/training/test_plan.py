"""The plan of an epoch: every sample once, the same for every process and every start."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from visage.training import plan

sizes = st.integers(1, 200)


@given(sizes, st.integers(1, 40), st.integers(0, 5), st.integers(0, 9))
def test_every_sample_is_seen_once_an_epoch(count: int, batch: int, seed: int, epoch: int) -> None:
    batches = plan.epoch_batches(count, batch, seed, epoch)
    assert sorted(np.concatenate(batches)) == list(range(count))
    assert all(len(b) == batch for b in batches[:-1])


@given(sizes, st.integers(1, 4), st.integers(1, 20))
def test_processes_and_micro_batches_divide_a_batch_without_loss(count: int, world: int, micro: int) -> None:
    batch = np.arange(count)
    shares = [plan.share(batch, rank, world) for rank in range(world)]
    assert sorted(np.concatenate(shares)) == list(range(count))
    for share in shares:
        if len(share):
            parts = plan.micro_batches(share, micro)
            assert (np.concatenate(parts) == share).all()
            assert max(map(len, parts)) <= micro
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_epochs_and_seeds_shuffle_differently() -> None:
    orders = [
        np.concatenate(plan.epoch_batches(50, 7, seed, epoch)).tolist() for seed, epoch in ((1, 0), (1, 1), (2, 0))
    ]
    assert len({tuple(order) for order in orders}) == 3


def test_steps_of_different_processes_draw_different_numbers() -> None:
    seeds = {plan.step_seed(1, epoch, step, rank) for epoch in range(3) for step in range(5) for rank in range(2)}
    assert len(seeds) == 30
    assert all(0 <= seed < 1 << 63 for seed in seeds)
