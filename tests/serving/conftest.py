"""A tiny exported colour classifier, and small pictures on disk."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from visage.export.card import ModelCard, Preprocessing

CLASSES = ["red", "green", "blue"]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers with the strongest colour of a picture, scores sharpened by 10."""
    import torch
    from torch import nn

    from visage.export.export import export_model

    torch.set_num_threads(1)
    linear = nn.Linear(3, 3)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(3) * 10)
        linear.bias.zero_()
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    card = ModelCard(
        "colours", "classification", Preprocessing(12, 16, (0.5,) * 3, (0.25,) * 3), CLASSES, {}, {}, "mean_colour"
    )
    out = tmp_path_factory.mktemp("models") / "colours"
    export_model(model, card, torch.randn(4, 3, 12, 16), out)
    return out


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """Write a picture of one colour (RGB, or one grey number) under tmp_path and return its path."""

    def write(name: str, colour: tuple[int, int, int] | int, height: int = 20, width: int = 30) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(colour, int):
            pixels = np.full((height, width), colour, np.uint8)
        else:
            pixels = np.full((height, width, 3), colour[::-1], np.uint8)
        assert cv2.imwrite(str(path), pixels)
        return path

    return write
