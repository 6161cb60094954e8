"""Parameters of the encoders: the `pretrain` section of params.yaml."""

from dataclasses import dataclass
from typing import Optional

from omegaconf import MISSING


@dataclass
class Pretrain:
    """Where the encoder's weights come from, and how the drawn default is trained.

    source: "drawn" (train on procedural people), "imagenet" (torchvision's ImageNet weights) or "file" (`path`). arch:
    a torchvision architecture. people, sessions, pictures, size: the drawn people, none of whom another stage sees.
    """

    source: str = MISSING
    arch: str = MISSING
    path: Optional[str] = MISSING
    people: int = MISSING
    sessions: int = MISSING
    pictures: int = MISSING
    size: int = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    micro_batch: int = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
