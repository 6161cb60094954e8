"""Pretraining: the mask moves with the picture, and hair is really learned from it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from visage.export.card import IMAGENET_MEAN, IMAGENET_STD
from visage.features import encoders
from visage.features.config import Pretrain
from visage.features.drawn import draw_people, load_people
from visage.features.pretrain_task import AUGMENTATION, DrawnSamples, ManyHeads, PretrainTask, cells, preprocessing

SETTINGS = Pretrain(
    source="drawn", arch="mobilenet_v3_small", path=None, people=2, sessions=3, pictures=1, size=64, epochs=1,
    batch_size=4, micro_batch=4, lr=2e-3, weight_decay=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_people(SETTINGS, 0, folder)
    return folder


@pytest.mark.parametrize("arch", encoders.ARCHITECTURES)
def test_names_are_the_encoders_own(arch: str) -> None:
    """Maps on the way do not change what the classifier says."""
    model = ManyHeads(arch, 3).eval()
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        names, hair = model(images)
        torch.testing.assert_close(names, model.encoder(images))
    assert [answer.shape[1:] for answer in hair] == [(2, 16, 24), (2, 4, 6), (2, 8, 12)]


def test_the_mask_moves_with_the_picture(drawn: Path) -> None:
    """Hair drawn as a picture and the hair given to training stay the same under every motion."""
    people = load_people(drawn)
    people = replace(people, pictures=np.repeat(np.asarray(people.hair)[..., None], 3, axis=3))
    still = replace(AUGMENTATION, brightness=0, contrast=0, saturation=0, rotation=40)
    samples = DrawnSamples(people, [0, 1, 2], preprocessing(64), still, 0)
    moved = 0
    for index in range(3):
        image, hair, *targets = samples[(5, index)]
        shown = image * np.reshape(IMAGENET_STD, (3, 1, 1)) + np.reshape(IMAGENET_MEAN, (3, 1, 1))
        assert np.abs(shown[0] * 255 - hair).max() < 1.01
        assert targets == people.targets[index]
        moved += not np.array_equal(hair, people.hair[index])
    assert moved


def test_cells_are_means() -> None:
    coverage = torch.zeros(1, 8, 8, dtype=torch.uint8)
    coverage[0, :4, :2] = 255
    assert cells(coverage, torch.zeros(1, 2, 2)).tolist() == [[[0.5, 0.0], [0.0, 0.0]]]


def test_an_earlier_versions_leftovers_are_drawn_again(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text((drawn / "rows.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
    draw_people(SETTINGS, 0, tmp_path)
    np.testing.assert_array_equal(load_people(tmp_path).hair, load_people(drawn).hair)


def test_hair_is_learned(drawn: Path) -> None:
    task = PretrainTask(SETTINGS, 0, drawn)
    torch.manual_seed(0)
    task.model.train()
    optimizer = task.optimizer()
    batch = [
        torch.stack([torch.as_tensor(value) for value in values])
        for values in zip(*(task.train_samples[(0, index)] for index in range(4)), strict=True)
    ]
    scores = []
    for _ in range(80):
        loss, sums = task.loss(task.model, batch, True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scores.append(task.report({name: float(value) for name, value in sums.items()}, 4)["hair_iou"])
    assert scores[-1] > 0.8 > scores[0]
