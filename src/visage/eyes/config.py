"""Parameters of the eye stages: the `eyes`, `pupil` and `ellipse` sections of params.yaml."""

import math
from dataclasses import dataclass, field

from omegaconf import MISSING

from visage.errors import ConfigError
from visage.runtime import check_choice, check_ranges

FORMATS = ("parquet", "sequences", "folder")
VARIANTS = ("tiny", "micro", "shallow")
ELLIPSES = ("moments", "stored")
SURFACES = ("normalised", "clipped")


@dataclass
class EyesData:
    """Where the eyes are. format: "parquet" (either published schema, or ours), "sequences" (S_*/k.png with k.npy) or
    "folder" (images/ and masks/, equal stems)."""

    name: str = MISSING
    root: str = MISSING
    format: str = MISSING


@dataclass
class SynthesizeEyes:
    """The drawn eyes. subjects: how many. frames: of each."""

    subjects: int = MISSING
    frames: int = MISSING


@dataclass
class PrepareEyes:
    """height, width: pixels of the prepared frames, as originals of 400 x 640 or half of it. train, val, test: shares
    of the subjects.

    ellipse: "moments" (from the mask) or "stored" (the data set's own columns). max_bad_fraction: share of unusable
    frames from which the run stops.
    """

    height: int = MISSING
    width: int = MISSING
    train: float = MISSING
    val: float = MISSING
    test: float = MISSING
    ellipse: str = MISSING
    max_bad_fraction: float = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_choice("eyes.prepare.ellipse", self.ellipse, ELLIPSES)
        check_ranges("eyes.prepare", self, {"max_bad_fraction": (0, 1)})
        for key, value, step in (("height", self.height, 40), ("width", self.width, 64)):
            # The windows of the models divide every stage of such sizes without padding.
            if value < step or value % step:
                raise ConfigError(f"eyes.prepare.{key}={value}: it must be a multiple of {step}, such as 200 x 320")


@dataclass
class Eyes:
    """The `eyes` section. variants: the segmenters to train and to compare."""

    variants: list[str] = MISSING
    data: EyesData = field(default_factory=EyesData)
    synthesize: SynthesizeEyes = field(default_factory=SynthesizeEyes)
    prepare: PrepareEyes = field(default_factory=PrepareEyes)

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        self.prepare.check()
        for variant in self.variants:
            check_choice("eyes.variants", variant, VARIANTS)


@dataclass
class EyeAugment:
    """Augmentation in training. flip, lines, blur, glints, noise, clahe: probability of each. rotation: degrees either
    way. scale, shift: shares of the size. gamma, contrast: spread around 1."""

    flip: float = MISSING
    lines: float = MISSING
    blur: float = MISSING
    glints: float = MISSING
    noise: float = MISSING
    clahe: float = MISSING
    rotation: float = MISSING
    scale: float = MISSING
    shift: float = MISSING
    gamma: float = MISSING
    contrast: float = MISSING

    def check(self, section: str) -> None:
        """Refuse what no run could honour; `section` holds the augmentation.

        Raises:
            ConfigError: names the first such key.
        """
        shares = dict.fromkeys(("flip", "lines", "blur", "glints", "noise", "clahe"), (0, 1))
        spreads = {"rotation": (0, 180), **dict.fromkeys(("scale", "shift", "gamma", "contrast"), (0, 0.9))}
        check_ranges(f"{section}.augment", self, {**shares, **spreads})


@dataclass
class Pupil:
    """The `pupil` section: segmentation of the pupil.

    The loss is CE x (1 + spatial weights) + alpha x generalised Dice + (1 - alpha) x surface, with an alpha that falls.

    variant: "tiny", "micro" or "shallow". alpha_epochs: epochs in which alpha falls from 1 to 0. alpha_after: what it
    is from then on. dice_floor: the least weight of the Dice term, whatever alpha. surface: "normalised" (distances
    over the diagonal, as published) or "clipped" (to `surface_clip` pixels, over that number), which is felt.
    progressive: the height of training frames in the first epoch as a share of that in the last; 1 trains on full
    frames throughout.
    """

    variant: str = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    micro_batch: int = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    early_stop: int = MISSING
    alpha_epochs: int = MISSING
    alpha_after: float = MISSING
    dice_floor: float = MISSING
    surface: str = MISSING
    surface_clip: float = MISSING
    progressive: float = MISSING
    augment: EyeAugment = field(default_factory=EyeAugment)

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_choice("pupil.variant", self.variant, VARIANTS)
        check_choice("pupil.surface", self.surface, SURFACES)
        counts = dict.fromkeys(("epochs", "batch_size", "micro_batch", "alpha_epochs"), (1, math.inf))
        others = {"lr": (1e-12, 1e3), "weight_decay": (0, math.inf), "early_stop": (0, math.inf)}
        shares = {"alpha_after": (0, 1), "dice_floor": (0, 1), "surface_clip": (0.5, math.inf), "progressive": (0.1, 1)}
        check_ranges("pupil", self, {**counts, **others, **shares})
        self.augment.check("pupil")


@dataclass
class Ellipse:
    """The `ellipse` section: regression of (cx, cy, rx, ry), by a network that keeps position."""

    epochs: int = MISSING
    batch_size: int = MISSING
    micro_batch: int = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    early_stop: int = MISSING
    augment: EyeAugment = field(default_factory=EyeAugment)

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        counts = dict.fromkeys(("epochs", "batch_size", "micro_batch"), (1, math.inf))
        others = {"lr": (1e-12, 1e3), "weight_decay": (0, math.inf), "early_stop": (0, math.inf)}
        check_ranges("ellipse", self, {**counts, **others})
        self.augment.check("ellipse")
