"""Parameters of the encoders: the `pretrain` section of params.yaml."""

import math
from dataclasses import dataclass
from typing import Optional

from omegaconf import MISSING

from visage.runtime import check_choice, check_ranges

ARCHITECTURE_NAMES = ("efficientnet_b0", "mobilenet_v3_small")
SOURCES = ("drawn", "imagenet", "file")


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

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_choice("pretrain.source", self.source, SOURCES)
        check_choice("pretrain.arch", self.arch, ARCHITECTURE_NAMES)
        counts = dict.fromkeys(("people", "pictures", "epochs", "batch_size", "micro_batch"), (1, math.inf))
        others = {"sessions": (2, math.inf), "size": (32, 4096), "lr": (1e-12, 1e3), "weight_decay": (0, math.inf)}
        check_ranges("pretrain", self, counts | others)
