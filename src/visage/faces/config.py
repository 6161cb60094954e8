"""Parameters of the face stages: the `faces`, `finetune` and `heads` sections of params.yaml."""

import math
import re
from dataclasses import dataclass, field
from typing import Optional

from omegaconf import MISSING

from visage.errors import ConfigError
from visage.features.config import ARCHITECTURE_NAMES
from visage.runtime import check_choice, check_ranges

WEIGHTS = ("encoder", "imagenet", "file", "none")
# Beside the heads, the metrics and plots have something by these names.
TAKEN_NAMES = ("best", "finetuned")


@dataclass
class FacesData:
    """Where the pictures are. labels: a CSV (file,label[,group][,source]) for a flat folder, None for class folders."""

    name: str = MISSING
    root: str = MISSING
    labels: Optional[str] = MISSING


@dataclass
class SynthesizeFaces:
    """The drawn people. people: how many. sessions: of each. pictures: of each session. size: pixels a side."""

    people: int = MISSING
    sessions: int = MISSING
    pictures: int = MISSING
    size: int = MISSING


@dataclass
class PrepareFaces:
    """size: side of the prepared pictures in pixels. classes: those to keep, None for all. train, val, test: shares of
    the pictures.

    max_bad_fraction: share of unreadable files from which the run stops. duplicate_bits: pictures whose perceptual
    hashes (512 bits) differ in at most so many are near duplicates; -1 finds none.
    """

    size: int = MISSING
    classes: Optional[list[str]] = MISSING
    train: float = MISSING
    val: float = MISSING
    test: float = MISSING
    max_bad_fraction: float = MISSING
    duplicate_bits: int = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_ranges("faces.prepare", self, {"size": (8, 4096), "max_bad_fraction": (0, 1), "duplicate_bits": (0, 512)})


@dataclass
class Faces:
    """The `faces` section."""

    data: FacesData = field(default_factory=FacesData)
    synthesize: SynthesizeFaces = field(default_factory=SynthesizeFaces)
    prepare: PrepareFaces = field(default_factory=PrepareFaces)


@dataclass
class Finetune:
    """The `finetune` section: transfer learning of a whole network.

    arch: a torchvision architecture. weights: "encoder" (of pretrain_encoder), "imagenet", "file" (`weights_path`) or
    "none". freeze_ratio: share of the backbone's layers that stay frozen, from the input side. unfreeze_last_blocks: a
    number of blocks that train, instead of freeze_ratio, or None. plateau_factor: what the learning rate is multiplied
    by where validation does not get better. plateau_patience: epochs that wait for that. min_lr: the least learning
    rate. flip: probability. rotation: degrees either way. brightness, contrast, saturation: strength, as in
    torchvision's ColorJitter.
    """

    arch: str = MISSING
    weights: str = MISSING
    weights_path: Optional[str] = MISSING
    freeze_ratio: float = MISSING
    unfreeze_last_blocks: Optional[int] = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    micro_batch: int = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    plateau_factor: float = MISSING
    plateau_patience: int = MISSING
    min_lr: float = MISSING
    early_stop: int = MISSING
    flip: float = MISSING
    rotation: float = MISSING
    brightness: float = MISSING
    contrast: float = MISSING
    saturation: float = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_choice("finetune.arch", self.arch, ARCHITECTURE_NAMES)
        check_choice("finetune.weights", self.weights, WEIGHTS)
        counts = dict.fromkeys(("epochs", "batch_size", "micro_batch"), (1, math.inf))
        shares = dict.fromkeys(("flip", "brightness", "contrast", "saturation", "freeze_ratio"), (0, 1))
        others = {"lr": (1e-12, 1e3), "weight_decay": (0, math.inf), "plateau_factor": (1e-6, 0.999999)}
        waits = dict.fromkeys(("plateau_patience", "early_stop", "min_lr"), (0, math.inf))
        check_ranges("finetune", self, {**counts, **shares, **others, **waits, "rotation": (0, 180)})

    def weights_file(self, encoder: str) -> str | None:
        """The local file that the weights come from (`encoder`: pretrain_encoder's), None for ImageNet's and random."""
        return {"encoder": encoder, "file": self.weights_path}.get(self.weights)


@dataclass
class HeadDesign:
    """One head. hidden: widths of its hidden layers, none for a linear classifier. dropout: before its last layer."""

    hidden: list[int] = MISSING
    dropout: float = MISSING


@dataclass
class Heads:
    """The `heads` section: classifiers on cached features, one for each of `designs`, compared on validation.

    lr: the top-level `lr` where nothing else is said. noise: standard deviation of what is added to the standardised
    features in training. mixup: alpha of its Beta distribution (Zhang et al. 2018), 0 for none. early_stop: epochs
    without a better one, 0 for never.
    """

    designs: dict[str, HeadDesign] = field(default_factory=dict)
    epochs: int = MISSING
    batch_size: int = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    noise: float = MISSING
    mixup: float = MISSING
    early_stop: int = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        if not self.designs:
            raise ConfigError("heads.designs is empty: name at least one head, such as heads.designs.linear")
        counts = dict.fromkeys(("epochs", "batch_size"), (1, math.inf))
        others = dict.fromkeys(("weight_decay", "noise", "mixup", "early_stop"), (0, math.inf))
        check_ranges("heads", self, {**counts, **others, "lr": (1e-12, 1e3)})
        for name, design in self.designs.items():
            if not re.fullmatch(r"[\w-]+", name) or name in TAKEN_NAMES:
                raise ConfigError(
                    f"heads.designs.{name}: name it with letters, digits, - and _, and not {' or '.join(TAKEN_NAMES)}"
                )
            check_ranges(f"heads.designs.{name}", design, {"dropout": (0, 0.999999)})
            if any(width < 1 for width in design.hidden):
                raise ConfigError(f"heads.designs.{name}.hidden={design.hidden}: every width must be at least 1")
