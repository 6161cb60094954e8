"""Networks with random weights whose features still tell pictures apart, and pictures to tell apart."""

from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from visage.features import encoders
from visage.io.atomic import write_json


def randomise(model: nn.Module) -> nn.Module:
    """Random weights and batch norms with the statistics that belong to them, variances between 1e-3 and 1; eval mode.

    Statistics drawn at random instead let activations grow to 1e30 within sixteen blocks; statistics of smooth pictures
    alone let them amplify bf16's rounding as no trained network does.
    """
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)  # again: the first time was before the seed
            module.weight.data *= 10 ** torch.empty(module.out_channels, 1, 1, 1).uniform_(-1.5, 0)
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches, here of one
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    seen = torch.from_numpy(pictures(16, 64)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        model.train()((seen / 255 - 0.45) / 0.23 + torch.randn(seen.shape))
    return model.eval()


def pretrained(folder: Path, seed: int = 0) -> Path:
    """Random weights as pretrain_encoder leaves its own, in `folder`."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(encoders.encoder_state(encoders.build("mobilenet_v3_small", 1)), folder / "encoder.safetensors")
    write_json(folder / "encoder.json", {"arch": "mobilenet_v3_small"})
    return folder


def pictures(count: int, size: int) -> np.ndarray:
    """`count` different smooth pictures, uint8 (count, size, size, 3)."""
    rng = np.random.default_rng(0)
    coarse = [cv2.resize(rng.normal(128, 70, (7, 7, 3)), (size, size)) for _ in range(count)]
    return np.clip(np.stack(coarse), 0, 255).astype(np.uint8)
