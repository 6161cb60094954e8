"""A model's card: everything needed to feed the model and read its answer, written into each exported file.

It is one JSON text under one key (`STAMP`), because safetensors writes several metadata keys in a random order and the
exported files must be the same bytes every time. Standard library only: serving reads cards without torch.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from visage.errors import VisageError

STAMP = "visage"
CHANNELS = {"RGB": 3, "GRAY": 1}
RESIZES = ("stretch", "letterbox")
# Of RGB in [0, 1]: what torchvision's weights expect, and so every network on one of its encoders.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input: resized to height x width pixels, / 255, - mean, / std.

    mean and std have one number a channel, in units of [0, 1]. resize: "stretch", or "letterbox" (keeps the aspect and
    pads with the mean). colour: "RGB" or "GRAY" (one channel).

    Raises:
        VisageError: a value that cannot be honoured.
    """

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "stretch"
    colour: str = "RGB"

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise VisageError(f"preprocessing.resize={self.resize!r}: choose one of {', '.join(RESIZES)}")
        if self.colour not in CHANNELS:
            raise VisageError(f"preprocessing.colour={self.colour!r}: choose one of {', '.join(CHANNELS)}")
        if self.height < 1 or self.width < 1:
            raise VisageError(f"preprocessing size {self.width}x{self.height}: both sides must be at least 1 pixel")
        if not len(self.mean) == len(self.std) == self.channels:
            raise VisageError(f"preprocessing mean and std need {self.channels} numbers each for {self.colour}")
        if min(self.std) <= 0:
            raise VisageError(f"preprocessing.std={self.std}: every number must be above 0")

    @property
    def channels(self) -> int:
        """Channels of the network's input: 3 for RGB, 1 for GRAY."""
        return CHANNELS[self.colour]


@dataclass(frozen=True)
class ModelCard:
    """What an exported model is. `export_model` fills in `model_version`, 12 hexadecimal digits of its content's hash.

    task chooses how the answer is read (`visage.serving.tasks`); classes are in the order of the logits.
    """

    name: str
    task: str
    preprocessing: Preprocessing
    classes: list[str]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    architecture: str
    model_version: str = ""

    def to_json(self) -> str:
        """One line of JSON with sorted keys, the text that is stamped into the files."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, allow_nan=False)


def parse_card(text: str, source: str) -> ModelCard:
    """Read `ModelCard.to_json`'s text, or model.json's; keys of later versions are passed over.

    Raises:
        VisageError: no card, or an incomplete one; `source` names the file in the message.
    """
    try:
        values = json.loads(text)
        known = {field.name: values[field.name] for field in fields(ModelCard)}
        known["preprocessing"] = _parse_preprocessing(known["preprocessing"])
        card = ModelCard(**known)
    except VisageError as error:
        raise VisageError(f"{source}: {error}") from error
    except KeyError as error:
        raise VisageError(f"{source}: its model card lacks {error}: export the model again with visage") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise VisageError(f"{source}: its model card is not readable ({error}): export the model again") from error
    if not card.model_version:
        raise VisageError(f"{source}: its model card has no model_version: export the model again with visage")
    return card


def _parse_preprocessing(values: Mapping[str, Any]) -> Preprocessing:
    known = {field.name: values[field.name] for field in fields(Preprocessing)}
    return Preprocessing(**{**known, "mean": tuple(known["mean"]), "std": tuple(known["std"])})
