"""Parameters of the encoders: the `pretrain` and `features` sections of params.yaml."""

import math
from dataclasses import dataclass
from typing import Optional

from omegaconf import MISSING

from visage.runtime import check_choice, check_ranges

ARCHITECTURE_NAMES = ("efficientnet_b0", "mobilenet_v3_small")
SOURCES = ("drawn", "imagenet", "file")
FEATURE_WEIGHTS = ("encoder", "imagenet", "file")
POOLS = ("avg", "max")
BACKENDS = ("torch", "openvino")
FEATURE_PRECISIONS = ("fp32", "bf16")


@dataclass
class Pretrain:
    """Where the encoder's weights come from, and how the drawn default is trained.

    source: "drawn" (train on procedural people), "imagenet" (torchvision's ImageNet weights) or "file" (`path`). arch:
    a torchvision architecture. people: how many are drawn, none of whom another stage sees. sessions: of each.
    pictures: of each session. size: pixels a side.
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


@dataclass
class Features:
    """What turns the prepared pictures into cached features.

    encoder: a timm model name. weights: "encoder" (of pretrain_encoder), "imagenet" (timm's, from its hub or cache) or
    "file" (`weights_path`). global_pool: "avg" or "max"; the features are what the last linear layer would see. size:
    side of the encoder's input in pixels. backend: "torch" or "openvino". precision: "fp32", or "bf16" where the
    processor has it. batch_size: pictures in one forward pass. images_per_job: pictures in one resumable job.
    max_bad_fraction: share of unreadable pictures from which the run stops.
    """

    encoder: str = MISSING
    weights: str = MISSING
    weights_path: Optional[str] = MISSING
    global_pool: str = MISSING
    size: int = MISSING
    backend: str = MISSING
    precision: str = MISSING
    batch_size: int = MISSING
    images_per_job: int = MISSING
    max_bad_fraction: float = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_choice("features.weights", self.weights, FEATURE_WEIGHTS)
        check_choice("features.global_pool", self.global_pool, POOLS)
        check_choice("features.backend", self.backend, BACKENDS)
        check_choice("features.precision", self.precision, FEATURE_PRECISIONS)
        counts = {"batch_size": (1, 4096), "images_per_job": (1, 1_000_000)}
        check_ranges("features", self, {**counts, "size": (8, 4096), "max_bad_fraction": (0, 1)})
