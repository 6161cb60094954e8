"""Pictures as samples: the same whichever process draws them, and bounded in memory."""

import numpy as np
import pytest

from visage.export.card import Preprocessing
from visage.features import samples as module
from visage.features.samples import PictureSamples
from visage.vision.augment import Augmentation

SHAPE = Preprocessing(16, 16, (0.5,) * 3, (0.5,) * 3)
PICTURES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)


def make(augmentation: Augmentation | None) -> PictureSamples:
    return PictureSamples(PICTURES.__getitem__, [(i % 2,) for i in range(5)], SHAPE, augmentation, seed=3)


def test_a_sample_depends_on_epoch_and_index_alone() -> None:
    a, b = make(Augmentation()), make(Augmentation())
    a[(0, 1)], a[(4, 2)]
    assert (a[(2, 3)][0] == b[(2, 3)][0]).all()
    assert (a[(2, 3)][0] != a[(3, 3)][0]).any()


def test_validation_samples_are_the_pictures_themselves() -> None:
    image, label = make(None)[(0, 1)]
    assert np.allclose((image * 0.5 + 0.5) * 255, PICTURES[1].transpose(2, 0, 1), atol=1e-3)
    assert label == 1


def test_decoded_pictures_are_kept_only_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_BYTES", 2 * PICTURES[0].nbytes)
    reads: list[int] = []

    def read(index: int) -> np.ndarray:
        reads.append(index)
        return PICTURES[index]

    samples = PictureSamples(read, [(0,)] * 5, SHAPE, None, 0)
    for _ in range(2):
        for index in range(5):
            samples[(0, index)]
    assert reads == [0, 1, 2, 3, 4, 2, 3, 4]
