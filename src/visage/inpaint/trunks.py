"""torchvision's ImageNet networks without their classifiers, for what compares pictures by their features.

The whole trunk of a file is compared with the architecture before any of it is used: weights that almost fit give
numbers that almost look right.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torchvision import models

from visage.errors import DataError, MissingWeightsError
from visage.features.encoders import file_state

# By the names that LPIPS has for them.
TRUNKS = {
    "vgg": "VGG16_Weights.IMAGENET1K_V1",
    "alex": "AlexNet_Weights.IMAGENET1K_V1",
    "squeeze": "SqueezeNet1_1_Weights.IMAGENET1K_V1",
}
FEATURES = "features."


def trunk_state(net: str, file: str | None, key: str, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of `net`'s `features`, by their names below it.

    Args:
        net: one of `TRUNKS`.
        file: torchvision's state dict (.pth or .safetensors), with or without the classifier; None takes it from
            torchvision's hub.
        key: the parameter that names the file.
        wanted: a state of `features`; names and shapes must be the same.

    Raises:
        MissingWeightsError: no file there, or the hub cannot be reached; says which file goes where.
        VisageError: the file is no checkpoint.
        DataError: it is of another architecture.
    """
    source = models.get_weight(TRUNKS[net])
    if file is not None and not Path(file).is_file():
        raise MissingWeightsError(f"{file}: no weights there: bring {source.url} and set {key} to it")
    if file is None:
        try:
            state = dict(source.get_state_dict(progress=False, check_hash=True))
        except (OSError, RuntimeError) as error:
            raise MissingWeightsError(
                f"{TRUNKS[net]} cannot be downloaded ({error}): bring {source.url} and set {key} to it"
            ) from None
    else:
        state = file_state(file, key)
    given = {name.removeprefix(FEATURES): value for name, value in state.items() if name.startswith(FEATURES)}
    odd = sorted(wanted.keys() ^ given.keys()) or [name for name in wanted if wanted[name].shape != given[name].shape]
    if odd:
        raise DataError(
            f"{file or source.url}: not {TRUNKS[net]} (first odd tensor: {FEATURES}{odd[0]}): set {key} to {source.url}"
        )
    return given
