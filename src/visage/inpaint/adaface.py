"""AdaFace's network (Kim, Jain and Liu, CVPR 2022), for checkpoints in the form in which its authors publish them.

The names of the layers are those of the checkpoints: loading is strict, because weights that silently stay random give
embeddings that look like any other.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.errors import DataError, MissingWeightsError

# Blocks of each stage by the depth that an architecture is called after.
DEPTHS = {"ir_18": (2, 2, 2, 2), "ir_34": (3, 4, 6, 3), "ir_50": (3, 4, 14, 3), "ir_101": (3, 13, 30, 3)}
WIDTHS = (64, 128, 256, 512)
PREFIX = "model."  # of the backbone's tensors; the others are the training head's
EMBEDDING = 512


class Block(nn.Module):
    """Two 3 x 3 convolutions, the second of `stride`, beside a shortcut that subsamples."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer = (
            nn.MaxPool2d(1, stride)
            if channels == out
            else nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.PReLU(out),
            nn.Conv2d(out, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class AdaFace(nn.Module):
    """Faces (N, 3, 112, 112), BGR, (x / 255 - 0.5) / 0.5, aligned -> unit embeddings (N, 512)."""

    def __init__(self, depths: tuple[int, ...]) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        blocks, channels = [], WIDTHS[0]
        for width, count in zip(WIDTHS, depths, strict=True):
            for index in range(count):
                blocks.append(Block(channels, width, 1 if index else 2))
                channels = width
        self.body = nn.Sequential(*blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(channels * 7 * 7, EMBEDDING),
            nn.BatchNorm1d(EMBEDDING, affine=False),
        )

    def forward(self, faces: Tensor) -> Tensor:
        return functional.normalize(self.output_layer(self.body(self.input_layer(faces))))


def load_adaface(file: Path) -> AdaFace:
    """The network of a published checkpoint (IR-18, 34, 50 or 101), in evaluation mode.

    Raises:
        MissingWeightsError: no such file.
        DataError: it cannot be loaded safely, or is not such a checkpoint; the message names the first odd tensor.
    """
    if not file.is_file():
        raise MissingWeightsError(f"{file}: no AdaFace checkpoint there: bring one, or set inpaint.prepare.embedder")
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no one exception for what is no checkpoint
        raise DataError(f"{file}: cannot be loaded safely ({str(error).splitlines()[0][:80]}): bring another") from None
    tensors = stored.get("state_dict", stored) if isinstance(stored, dict) else {}
    state = {name[len(PREFIX) :]: value for name, value in tensors.items() if name.startswith(PREFIX)}
    blocks = {int(name.split(".")[1]) for name in state if name.startswith("body.")}
    depths = next((depths for depths in DEPTHS.values() if sum(depths) == len(blocks)), None)
    if depths is None:
        raise DataError(f"{file}: not an AdaFace checkpoint (no {PREFIX}body of a known depth): bring IR-18, 50 or 101")
    network = AdaFace(depths)
    # Counters of training steps, which older versions do not store, decide nothing.
    wanted = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    odd = sorted(wanted.keys() ^ state.keys()) or [name for name in wanted if wanted[name].shape != state[name].shape]
    if odd:
        raise DataError(f"{file}: {len(odd)} tensors are not this network's, the first is {odd[0]}: bring another")
    network.load_state_dict(network.state_dict() | state)
    return network.eval()
