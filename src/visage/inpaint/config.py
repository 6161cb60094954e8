"""Parameters of the inpainting stages: the `inpaint` and `texture` sections of params.yaml."""

import math
from dataclasses import dataclass, field

from omegaconf import MISSING

from visage.errors import ConfigError
from visage.runtime import check_choice, check_ranges

DETECTORS = ("yunet", "yolo", "none")
EMBEDDERS = ("encoder", "adaface", "sface", "insightface", "none")
ARCHITECTURES = ("encoder", "resnet18", "resnet50")
WEIGHTS = ("none", "imagenet", "file")


@dataclass
class InpaintData:
    """Where the originals are, in the layout of K-Hairstyle."""

    name: str = MISSING
    root: str = MISSING


@dataclass
class PrepareInpaint:
    """What becomes of each original.

    size: pixels a side of the prepared pictures. min_side: smaller originals are refused. growth: of the hair mask
    before the hair is removed, as a share of the side. detector: of faces that no polygon marks, "yunet", "yolo" or
    "none". detector_file: its weights. detector_score: its least confidence. embedder: of identity, "encoder" (of
    pretrain_encoder), "adaface", "sface", "insightface" or "none". embedder_file: its weights. sharpness: least
    variance of the Laplacian of a face that is still somebody's (K-Hairstyle's are blurred). patch: pixels a side.
    patch_stride: pixels from one patch to the next. patch_hair: least share of hair in a patch. patches_per_source: at
    most so many. style: pixels a side of the style image. images_per_job: originals that a killed worker loses. train,
    val, test: shares of the sources. max_bad_fraction: share of bad originals from which the run stops.
    """

    size: int = MISSING
    min_side: int = MISSING
    growth: float = MISSING
    detector: str = MISSING
    detector_file: str = MISSING
    detector_score: float = MISSING
    embedder: str = MISSING
    embedder_file: str = MISSING
    sharpness: float = MISSING
    patch: int = MISSING
    patch_stride: int = MISSING
    patch_hair: float = MISSING
    patches_per_source: int = MISSING
    style: int = MISSING
    images_per_job: int = MISSING
    train: float = MISSING
    val: float = MISSING
    test: float = MISSING
    max_bad_fraction: float = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_choice("inpaint.prepare.detector", self.detector, DETECTORS)
        check_choice("inpaint.prepare.embedder", self.embedder, EMBEDDERS)
        counts = dict.fromkeys(("patch_stride", "patches_per_source", "images_per_job"), (1, math.inf))
        sides = {"size": (64, 4096), "min_side": (16, 4096), "patch": (16, 1024), "style": (32, 1024)}
        shares = dict.fromkeys(("detector_score", "patch_hair", "max_bad_fraction"), (0, 1))
        check_ranges("inpaint.prepare", self, {**counts, **sides, **shares, "growth": (0.001, 0.5)})
        check_ranges("inpaint.prepare", self, {"sharpness": (0, math.inf)})
        if self.patch > self.size:
            raise ConfigError(
                f"inpaint.prepare.patch={self.patch} is more than inpaint.prepare.size={self.size}: lower it"
            )


@dataclass
class Inpaint:
    """The `inpaint` section."""

    data: InpaintData = field(default_factory=InpaintData)
    prepare: PrepareInpaint = field(default_factory=PrepareInpaint)

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        self.prepare.check()


@dataclass
class Texture:
    """The `texture` section: the encoder of hair texture.

    arch: the backbone, "encoder" for that of pretrain_encoder with its weights, else "resnet18" or "resnet50". weights:
    of these two, "imagenet" (torchvision's), "file" (`weights_file`) or "none" (random). part: the side of a view as a
    share of the picture's. size: pixels of a view. batch_size: pictures of a step, each in two views, all of them in
    one pass, because every view is compared with every other. projection: width of the contrastive space. supcon:
    weight of the contrastive loss. temperature: of it. dropout: before the heads. steps: in an epoch, whose samples are
    drawn so that all curls come up equally often. snapshot_steps: steps between the encoders that are kept, a multiple
    of `steps`. looks: views of a picture that measuring takes the mean of.
    """

    arch: str = MISSING
    weights: str = MISSING
    weights_file: str | None = None
    part: float = MISSING
    size: int = MISSING
    epochs: int = MISSING
    steps: int = MISSING
    batch_size: int = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    early_stop: int = MISSING
    projection: int = MISSING
    supcon: float = MISSING
    temperature: float = MISSING
    dropout: float = MISSING
    snapshot_steps: int = MISSING
    looks: int = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_choice("texture.arch", self.arch, ARCHITECTURES)
        check_choice("texture.weights", self.weights, WEIGHTS)
        counts = dict.fromkeys(("epochs", "steps", "projection", "snapshot_steps", "looks"), (1, math.inf))
        others = {"weight_decay": (0, math.inf), "early_stop": (0, math.inf), "supcon": (0, math.inf)}
        check_ranges("texture", self, {**counts, **others, "lr": (1e-12, 1e3), "temperature": (1e-3, 10)})
        check_ranges("texture", self, {"dropout": (0, 0.95), "part": (0.01, 0.8), "size": (32, 1024)})
        check_ranges("texture", self, {"batch_size": (2, math.inf)})
        if self.snapshot_steps % self.steps:
            raise ConfigError(
                f"texture.snapshot_steps={self.snapshot_steps}: it must be a multiple of texture.steps={self.steps}"
            )
