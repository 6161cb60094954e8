"""Which samples each process sees at each step: a pure function of seed, epoch and sizes.

Nothing about the order of samples or the random numbers of a step is carried along as state. A run that starts again in
the middle of an epoch computes the same plan and the same seeds, which is what makes its final weights the same bits.
"""

from collections.abc import Sequence

import numpy as np

# What a dataset is indexed by, (epoch, sample): augmentation is a pure function of seed, epoch and sample.
Key = tuple[int, int]


def epoch_batches(count: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The shuffled sample indices of each optimizer step of `epoch`, the last batch possibly smaller."""
    order = np.random.default_rng((seed, epoch, 0)).permutation(count)
    return [order[start : start + batch_size] for start in range(0, count, batch_size)]


def ordered_batches(count: int, batch_size: int) -> list[np.ndarray]:
    """The sample indices in order, for validation."""
    return [np.arange(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]


def share(batch: np.ndarray, rank: int, world: int) -> np.ndarray:
    """The part of `batch` that process `rank` of `world` computes; it may be empty when the batch is small."""
    return batch[rank::world]


def micro_batches(indices: np.ndarray, micro_batch: int) -> list[np.ndarray]:
    """`indices` in portions of at most `micro_batch`, as even as possible."""
    portions = max(1, -(-len(indices) // micro_batch))
    return list(np.array_split(indices, portions))


def at_least_two(indices: np.ndarray) -> np.ndarray:
    """`indices`, a lone one twice: batch norm over a single small picture has nothing to measure and refuses it."""
    return np.repeat(indices, 2) if len(indices) == 1 else indices


def step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """The seed of torch's generator (dropout) for one step of one process, in [0, 2^63)."""
    state = np.random.SeedSequence((seed, epoch, step, rank)).generate_state(1, np.uint64)
    return int(state[0] >> 1)


def keys(epoch: int, indices: Sequence[int] | np.ndarray) -> list[Key]:
    """The dataset keys of `indices` at `epoch`."""
    return [(epoch, int(index)) for index in indices]
