"""A tiny classifier and a tiny fully convolutional net, with cards that fit them."""

import pytest
import torch
from torch import nn

from visage.export.card import ModelCard, Preprocessing


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Two torch threads on shared cores can be fifty times slower than one."""
    torch.set_num_threads(1)


@pytest.fixture
def card() -> ModelCard:
    return ModelCard(
        name="tiny",
        task="classification",
        preprocessing=Preprocessing(16, 24, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)),
        classes=["ann", "bob", "cid"],
        metrics={"accuracy": 0.5},
        lineage={"data": {"train": "0" * 64}},
        architecture="tiny",
    )


@pytest.fixture
def examples() -> torch.Tensor:
    return torch.randn(5, 3, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.Hardswish(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8, 3),
    )


class TinySegmenter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = self.up(self.down(image).relu())
        return nn.functional.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


@pytest.fixture
def segmenter() -> nn.Module:
    torch.manual_seed(0)
    return TinySegmenter()
