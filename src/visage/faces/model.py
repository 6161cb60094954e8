"""The classifier: a torchvision network with its classifier replaced and a share of its backbone frozen.

A "layer" for `freeze_ratio` is a leaf of the backbone with parameters of its own (a convolution or a norm), counted
from the input side; a "block" for `unfreeze_last_blocks` is one child of `features`. The classifier always trains.
"""

from torch import nn

from visage.errors import ConfigError
from visage.faces.config import Finetune
from visage.features import encoders
from visage.features.encoders import file_state, imagenet_state, load_encoder_state
from visage.training.freeze import freeze, frozen_count


def build_classifier(settings: Finetune, encoder: str, classes: int) -> nn.Module:
    """(N, 3, H, W) normalised -> (N, classes), loaded and frozen as `settings` say.

    `encoder` is the path of the pretrained encoder, used where finetune.weights is "encoder".

    Raises:
        ConfigError: unknown choices, or weights of another architecture.
        MissingWeightsError: the weights are not there.
    """
    model = encoders.build(settings.arch, classes)
    if settings.weights == "encoder":
        load_encoder_state(model, file_state(encoder, "finetune.weights"), f"finetune.weights=encoder ({encoder})")
    elif settings.weights == "imagenet":
        load_encoder_state(model, imagenet_state(settings.arch), "finetune.weights=imagenet")
    elif settings.weights == "file":
        state = file_state(settings.weights_path, "finetune.weights_path")
        load_encoder_state(model, state, f"finetune.weights_path={settings.weights_path}")
    freeze(frozen_layers(model, settings))
    return model


def frozen_layers(model: nn.Module, settings: Finetune) -> list[nn.Module]:
    """The layers that stay as they are.

    Raises:
        ConfigError: more blocks are to train than there are.
    """
    features = model.get_submodule("features")
    blocks = list(features.children())
    if settings.unfreeze_last_blocks is not None:
        count = settings.unfreeze_last_blocks
        if not 0 <= count <= len(blocks):
            raise ConfigError(f"finetune.unfreeze_last_blocks={count}: {settings.arch} has {len(blocks)} blocks")
        return blocks[: len(blocks) - count]
    layers = [layer for layer in features.modules() if next(layer.parameters(recurse=False), None) is not None]
    return layers[: frozen_count(len(layers), settings.freeze_ratio)]
