"""The hair networks by name, and their checkpoints.

Every one keeps one contract: pictures (N, 3, H, W), normalised, of any height and width that are multiples of 32, give
logits (N, 2, H, W) of background and hair in evaluation mode, and alpha is softmax(logits)[1] whether the network is a
segmenter or a matting one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from visage.errors import DataError
from visage.features import encoders
from visage.hair.bisenet import BiSeNet
from visage.hair.context import RESNET, Context, build_context, context_arch, load_encoder, load_file, load_pyramid
from visage.hair.modnet import MODNet
from visage.training import checkpoint

CLASSES = ("background", "hair")


@dataclass(frozen=True)
class Kind:
    """A kind of network: what makes one of a context, whether that is the pipeline's encoder (else ResNet-18), and how
    its runs are tagged."""

    build: Callable[[Context], nn.Module]
    pretrained: bool
    model_type: str


KINDS = {
    "bisenet_mobilenet": Kind(BiSeNet, pretrained=True, model_type="BiSeNet"),
    "bisenet_mobilenet_whole": Kind(partial(BiSeNet, whole=True), pretrained=True, model_type="BiSeNet"),
    "bisenet_resnet18": Kind(BiSeNet, pretrained=False, model_type="BiSeNet"),
    "modnet_mobilenet": Kind(MODNet, pretrained=True, model_type="MODNet"),
}


def context_name(arch: str, encoder: Path) -> str:
    """The name of the context that `arch`, one of `KINDS`, has beside the pretrained encoder in folder `encoder`.

    Raises:
        VisageError: the folder holds no encoder, or one that is no context.
    """
    return context_arch(encoder) if KINDS[arch].pretrained else RESNET


def build(arch: str, encoder: Path, weights: Path | None = None) -> nn.Module:
    """A new network `arch`, one of `KINDS`, on a pretrained context.

    encoder: the folder of pretrain_encoder. weights: a file of ResNet-18's weights; without, that context is random.

    Raises:
        VisageError: the weights are missing, unreadable, or of another architecture.
    """
    context = build_context(context_name(arch, encoder))
    if KINDS[arch].pretrained:
        load_encoder(context, encoder)
    elif weights is not None:
        load_file(context, weights)
    network = KINDS[arch].build(context)
    if KINDS[arch].pretrained and isinstance(network, BiSeNet):
        load_pyramid(network.pyramid, encoder)
    return network


def load_network(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint of `train_hair_segmenter`, in evaluation mode, and the checkpoint ("kind", "context",
    "model", "epoch", "metrics", "size", "config").

    Raises:
        DataError: the file cannot be loaded, or is another kind of checkpoint.
    """
    saved = checkpoint.load(path)
    if saved.get("kind") not in KINDS or saved.get("context") not in (*encoders.ARCHITECTURES, RESNET):
        raise DataError(f"{path}: not a checkpoint of train_hair_segmenter: train again")
    network = KINDS[saved["kind"]].build(build_context(saved["context"]))
    try:
        network.load_state_dict(saved["model"])
    except RuntimeError:
        raise DataError(f"{path}: its weights are of another {saved['kind']} network: train again") from None
    return network.eval(), saved
