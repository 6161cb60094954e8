"""The eye networks by name, the size that they are used at, and their checkpoints.

Every network is trained at half the size of an eye frame; `AtFullSize` makes of it what is exported: it takes the frame
as it is, and the pupil has the scale that it had in training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.errors import DataError
from visage.eyes.efficientvit import Design, TinyEfficientViTSeg
from visage.eyes.ellipse_net import EllipseRegressionNet
from visage.eyes.shallow import ShallowNet
from visage.training import checkpoint

# The size of an eye frame, rows x columns: what exported models take.
FRAME = (400, 640)


@dataclass(frozen=True)
class Kind:
    """A kind of network: how to build one, what its checkpoints are called, and the tags of its runs."""

    build: Callable[[], nn.Module]
    file: str
    model_type: str
    architecture: str


KINDS: dict[str, Kind] = {}


def kind(
    name: str, file: str, model_type: str, architecture: str
) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    """Make the decorated function the builder of the networks called `name`."""

    def register(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        KINDS[name] = Kind(build, file, model_type, architecture)
        return build

    return register


@kind("tiny", "efficientvit_model", "TinyEfficientViT", "TinyEfficientViTSeg")
def tiny() -> nn.Module:
    """Below 60,000 parameters."""
    return TinyEfficientViTSeg(Design((8, 16, 24), (1, 1, 1), (1, 1, 2), decoder=16, merge=4, light=False))


@kind("micro", "efficientvit_tiny_model", "TinyEfficientViT-Micro", "TinyEfficientViTSeg")
def micro() -> nn.Module:
    """Below 10,000 parameters."""
    return TinyEfficientViTSeg(Design((8, 12, 18), (1, 1, 1), (1, 1, 1), decoder=8, merge=2, light=True))


@kind("shallow", "shallow_model", "ShallowNet", "ShallowNet")
def shallow() -> nn.Module:
    """For comparison."""
    return ShallowNet()


@kind("ellipse", "ellipse_model", "EllipseRegressionNet", "EllipseRegressionNet")
def ellipse() -> nn.Module:
    """Regression of the ellipse."""
    return EllipseRegressionNet()


class AtFullSize(nn.Module):
    """`core` on frames of twice its size: (B, 1, 2H, 2W) -> maps of (B, 2, 2H, 2W), or numbers as they come.

    Maps are logits at half the frame's size, brought to its size bilinearly.
    """

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(self, image: Tensor) -> Tensor:
        out = self.core(functional.avg_pool2d(image, 2))
        maps = isinstance(out, Tensor) and out.ndim == 4
        return functional.interpolate(out, scale_factor=2.0, mode="bilinear") if maps else out


def at_size(core: nn.Module, height: int, width: int) -> nn.Module:
    """`core` for training on pictures of height x width: itself, or `AtFullSize` where those are whole frames."""
    return AtFullSize(core) if (height, width) == FRAME else core


def core_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the core alone out of those of what `at_size` gave, contiguous, as checkpoints hold them."""
    return {name.removeprefix("core."): tensor.contiguous() for name, tensor in state.items()}


def load_network(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint of `train_pupil` or `train_ellipse` (for pictures of half a frame's size), in
    evaluation mode, and the checkpoint.

    Raises:
        DataError: the file cannot be loaded, or is another kind of checkpoint.
    """
    saved = checkpoint.load(path)
    if saved.get("kind") not in KINDS:
        raise DataError(f"{path}: not a checkpoint of train_pupil or train_ellipse: train again")
    network = KINDS[saved["kind"]].build()
    try:
        network.load_state_dict(saved["model"])
    except RuntimeError:
        raise DataError(f"{path}: its weights are of another {saved['kind']} network: train again") from None
    return network.eval(), saved


def load_trained(folder: Path, kind: str, shape: tuple[int, int]) -> tuple[nn.Module, dict[str, Any]]:
    """The best network of `kind` in a trainer's folder, as `load_network` gives it.

    Raises:
        DataError: the checkpoint is missing, of another kind, or was trained on frames of another size than `shape`.
    """
    network, saved = load_network(folder / f"best_{KINDS[kind].file}.pt")
    trained = saved["height"], saved["width"]
    if saved["kind"] != kind or trained != shape:
        found = f"{saved['kind']} trained on frames of {trained[0]} x {trained[1]}"
        raise DataError(f"{folder}: {found}, wanted {kind} on {shape[0]} x {shape[1]}: train again")
    return network, saved


def history_file(kind: str) -> str:
    """What the history of a training is called among its checkpoints."""
    return f"{KINDS[kind].file}_history.csv"


def count_macs(network: nn.Module, height: int, width: int) -> int:
    """Multiply-accumulates of one picture of height x width, in convolutions, linear layers and matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network(torch.zeros(1, 1, height, width))
    return counter.get_total_flops() // 2
