"""Parameters of the hair stages: the sections of params.yaml from `hair` to `patch_head`."""

import math
from dataclasses import dataclass, field

from omegaconf import MISSING

from visage.errors import ConfigError
from visage.runtime import check_choice, check_ranges

FORMATS = ("khairstyle", "celebamask", "figaro", "lfw_parts", "folder")
METHODS = ("auto", "mediapipe", "grabcut")
ARCHITECTURES = ("bisenet_mobilenet", "bisenet_mobilenet_whole", "bisenet_resnet18", "modnet_mobilenet")


@dataclass
class HairData:
    """Where the pictures with hair masks are. format: "khairstyle" (the published layout), "celebamask"
    (CelebAMask-HQ), "figaro" (Figaro-1k), "lfw_parts" or "folder" (images/ and masks/, equal stems)."""

    name: str = MISSING
    root: str = MISSING
    format: str = MISSING


@dataclass
class SynthesizeHair:
    """The drawn people. sources: how many. views: of each. size: pixels a side. wild: share of pictures with what
    selfies have, which is hats, hands, busy or hair-coloured backgrounds, backlight, no hair. clarity: how far strands
    of different curl and width differ, 1 as in life."""

    sources: int = MISSING
    views: int = MISSING
    size: int = MISSING
    wild: float = MISSING
    clarity: float = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        counts = {"sources": (1, math.inf), "views": (1, math.inf), "size": (64, 2048)}
        check_ranges("hair.synthesize", self, {**counts, "wild": (0, 1), "clarity": (1, 4)})


@dataclass
class PrepareHair:
    """size: pixels a side of the prepared pictures; a picture keeps its aspect, and grey fills the rest. train, val,
    test: shares of the sources. max_bad_fraction: share of unusable pictures from which the run stops."""

    size: int = MISSING
    train: float = MISSING
    val: float = MISSING
    test: float = MISSING
    max_bad_fraction: float = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_ranges("hair.prepare", self, {"size": (64, 1024), "max_bad_fraction": (0, 1)})
        if self.size % 32:
            raise ConfigError(f"hair.prepare.size={self.size}: it must be a multiple of 32, such as 256")


@dataclass
class Hair:
    """The `hair` section."""

    data: HairData = field(default_factory=HairData)
    synthesize: SynthesizeHair = field(default_factory=SynthesizeHair)
    prepare: PrepareHair = field(default_factory=PrepareHair)

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        self.synthesize.check()
        self.prepare.check()


@dataclass
class ZeroShot:
    """The `zero_shot` section: hair without training.

    method: "mediapipe", "grabcut", or "auto": MediaPipe where `model_file` is there, else GrabCut seeded by the face's
    geometry. low, high: confidences of the hysteresis that makes the mask. min_part: parts smaller than this share of
    the largest go. fill_holes: holes smaller than this share of the mask are filled. guided: radius in pixels of the
    guided filter that fits the edge to the picture, 0 for none.
    """

    method: str = MISSING
    model_file: str = MISSING
    low: float = MISSING
    high: float = MISSING
    min_part: float = MISSING
    fill_holes: float = MISSING
    guided: int = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_choice("zero_shot.method", self.method, METHODS)
        shares = dict.fromkeys(("low", "high", "min_part", "fill_holes"), (0, 1))
        check_ranges("zero_shot", self, {**shares, "guided": (0, 64)})
        if self.low > self.high:
            raise ConfigError(f"zero_shot.low={self.low} is above zero_shot.high={self.high}: lower it")


@dataclass
class HairAugment:
    """Augmentation in training. flip, blur, noise, jpeg, grey: probability of each. erase: of a patch of another
    picture. decoy: of hair that belongs to no head, and after each of one more. mosaic: of four pictures in the corners
    of one. zoom: by how much at most a part of a picture that is no mosaic is enlarged, 1 for twice its size, 0 for
    never. rotation: degrees either way. scale, shift: shares of the size. brightness, contrast, saturation, hue:
    spreads."""

    flip: float = MISSING
    blur: float = MISSING
    noise: float = MISSING
    jpeg: float = MISSING
    erase: float = MISSING
    grey: float = MISSING
    decoy: float = MISSING
    mosaic: float = MISSING
    zoom: float = MISSING
    rotation: float = MISSING
    scale: float = MISSING
    shift: float = MISSING
    brightness: float = MISSING
    contrast: float = MISSING
    saturation: float = MISSING
    hue: float = MISSING

    def check(self, section: str) -> None:
        """Refuse what no run could honour; `section` holds the augmentation.

        Raises:
            ConfigError: names the first such key.
        """
        shares = dict.fromkeys(("flip", "blur", "noise", "jpeg", "erase", "grey", "mosaic"), (0, 1))
        spreads = dict.fromkeys(("decoy", "scale", "shift", "brightness", "contrast", "saturation", "hue"), (0, 0.9))
        check_ranges(f"{section}.augment", self, {**shares, **spreads, "zoom": (0, 7), "rotation": (0, 180)})


@dataclass
class Segmenter:
    """The `segmenter` section: a network for hair, trained from the pretrained encoder.

    arch: "bisenet_mobilenet", "bisenet_mobilenet_whole" (its context sees pictures at their full size),
    "bisenet_resnet18" or "modnet_mobilenet". freeze: the context stays as it was pretrained (light finetune); false
    trains everything. boundary: weight of the pixels near the mask's edge over the others.
    max_steps: at most so many steps in all, 0 for no such limit. price_per_hour: of the machine, for an estimate of the
    cost; 0 for none.
    """

    arch: str = MISSING
    freeze: bool = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    micro_batch: int = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    early_stop: int = MISSING
    boundary: float = MISSING
    max_steps: int = MISSING
    price_per_hour: float = MISSING
    augment: HairAugment = field(default_factory=HairAugment)

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_choice("segmenter.arch", self.arch, ARCHITECTURES)
        counts = dict.fromkeys(("epochs", "batch_size", "micro_batch"), (1, math.inf))
        others = dict.fromkeys(("weight_decay", "early_stop", "boundary", "max_steps", "price_per_hour"), (0, math.inf))
        check_ranges("segmenter", self, {**counts, **others, "lr": (1e-12, 1e3)})
        self.augment.check("segmenter")


@dataclass
class Patches:
    """The `patches` section: features of overlapping patches, in jobs. size: pixels a side of a patch. overlap: pixels
    that neighbours share. batch_size: patches through the encoder at once. patches_per_job: how many a job has."""

    size: int = MISSING
    overlap: int = MISSING
    batch_size: int = MISSING
    patches_per_job: int = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_ranges("patches", self, {"size": (32, 2048), "overlap": (0, 1024), "batch_size": (1, 4096)})
        check_ranges("patches", self, {"patches_per_job": (1, 65536)})
        if self.size % 32 or 2 * self.overlap > self.size:
            raise ConfigError(
                f"patches.size={self.size} with patches.overlap={self.overlap}: the size must be a multiple of 32 and "
                "at least twice the overlap"
            )


@dataclass
class PatchHead:
    """The `patch_head` section: a decoder of the cached features of patches. width: its channels. boundary: weight of
    the pixels near the mask's edge over the others."""

    width: int = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    micro_batch: int = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    early_stop: int = MISSING
    boundary: float = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        counts = dict.fromkeys(("width", "epochs", "batch_size", "micro_batch"), (1, math.inf))
        others = dict.fromkeys(("weight_decay", "early_stop", "boundary"), (0, math.inf))
        check_ranges("patch_head", self, {**counts, **others, "lr": (1e-12, 1e3)})
