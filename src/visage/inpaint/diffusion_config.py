"""Parameters of the inpainting network: sections `autoencoder`, `prompts` and `inpainter`.

Every source of weights is a choice: `new` (small, trained here), `file` (a path in the layout of diffusers) or `hub`
(a repository's name); what is not there is named, and nothing runs on random weights that somebody asked to be real.
"""

import math
from dataclasses import dataclass, field

from omegaconf import MISSING

from visage.errors import ConfigError
from visage.runtime import check_choice, check_ranges

SOURCES = ("new", "file", "hub")
CONVENTIONS = ("bald", "masked")
PREDICTIONS = ("sample", "epsilon", "v_prediction")
TRAINABLE = ("full", "lora")
FROZEN = ("fp32", "bf16")
KERNELS = ("sdpa", "xformers")
OPTIMIZERS = ("adamw", "adamw8bit")
TEXTURES = ("encoder", "vgg16", "none")
COUNT = (1, math.inf)
SHARE = (0, 1)
DECAY = (0, 0.99999)


@dataclass
class Autoencoder:
    """The `autoencoder` section: what turns pictures into latents and back.

    source: "new" is a small AutoencoderKL trained here; else `path`, a folder (file) or a repository (hub) of one such
    as SDXL's, which stays as it is. size: pixels a side of what is encoded. channels: of each level; each but the first
    halves the side. crop: pixels a side of a training sample. bald: share of samples that are bald. steps: in an epoch.
    beta2: see `Inpainter`. detail, colour, kl: weights of the losses of gradients and of low-passed pictures, and of
    the prior.
    """

    source: str = MISSING
    path: str | None = None
    size: int = MISSING
    channels: list[int] = field(default_factory=list)
    crop: int = MISSING
    bald: float = MISSING
    batch_size: int = MISSING
    epochs: int = MISSING
    steps: int = MISSING
    lr: float = MISSING
    beta2: float = MISSING
    detail: float = MISSING
    colour: float = MISSING
    kl: float = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_source("autoencoder", self.source, self.path)
        counts = dict.fromkeys(("batch_size", "epochs", "steps"), COUNT)
        weights = dict.fromkeys(("detail", "colour", "kl"), (0, math.inf))
        check_ranges("autoencoder", self, {**counts, **weights, "size": (32, 4096), "crop": (16, 4096)})
        check_ranges("autoencoder", self, {"lr": (1e-12, 1e3), "bald": SHARE, "beta2": DECAY})
        stride = 2 ** (len(self.channels) - 1)
        if not self.channels or self.size % stride or self.crop % stride:
            raise ConfigError(
                f"autoencoder.size={self.size} and autoencoder.crop={self.crop}: with {len(self.channels)} levels of "
                f"autoencoder.channels both must be multiples of {stride}"
            )


@dataclass
class Prompts:
    """The `prompts` section: the text encoders, asked once for each prompt.

    source: "new" are small random ones of the same classes over a vocabulary of the known words; else `path`, a folder
    (file) or a repository (hub) with tokenizer, tokenizer_2, text_encoder and text_encoder_2 of SDXL. width: of each
    small encoder. layers: of each small encoder. prompts_per_job: prompts that a killed worker loses.
    """

    source: str = MISSING
    path: str | None = None
    width: int = MISSING
    layers: int = MISSING
    prompts_per_job: int = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_source("prompts", self.source, self.path)
        check_ranges("prompts", self, dict.fromkeys(("layers", "prompts_per_job"), COUNT))
        check_ranges("prompts", self, {"width": (8, 4096)})
        if self.width % 8:
            raise ConfigError(f"prompts.width={self.width}: it must be a multiple of 8, for the heads of attention")


@dataclass
class Lora:
    """Low-rank adapters on attention. rank: of each. alpha: their scale, over the rank."""

    rank: int = MISSING
    alpha: int = MISSING


@dataclass
class Consistency:
    """Losses on decoded pictures. by: whose view of texture, "encoder" (of train_texture), "vgg16" or "none".

    file: VGG16's weights of torchvision. texture: weight beside the main loss. identity: weight beside it, 0 for off.
    every: steps from one to the next. crop: pixels a side of what is decoded. samples: of a step that are decoded.
    """

    by: str = MISSING
    file: str | None = None
    texture: float = MISSING
    identity: float = MISSING
    every: int = MISSING
    crop: int = MISSING
    samples: int = MISSING


@dataclass
class Inpainter:
    """The `inpainter` section: the UNet that paints hair into a picture.

    source: "new" is a small UNet2DConditionModel; else `path`, a folder, a single file in the original layout (file) or
    a repository (hub); 4 input channels become 9. convention: what the last four input channels are, the "bald" picture
    or the picture with a "masked" hole. outline: the mask tells hair from the ring about it that is painted too, which
    SDXL-inpainting's does not. channels: of each level. layers: residual blocks of each level. attention: levels that
    have it, from below. depth: attention blocks of those. head: width of an attention head. prediction: what the
    network says, "sample", "epsilon" or "v_prediction". zero_snr: rescale the noise so that the last step is noise
    alone. mask: what an element to paint weighs more than another. snr_gamma: of min-SNR weighting, 0 for none.
    noise_offset: strength of one more random number for each channel, 0 for none. noisier: times are drawn in
    proportion to themselves to this power, 0 for all alike. drop: share of samples that lose their prompt, style or
    identity, each by itself. drop_all: share of samples that lose all three. flips: mirrored pictures are trained on
    too. tints: copies of each picture with hair of another colour, of which the prompt does not tell. trainable:
    "full", or "lora" with conv_in and the projectors. frozen: precision of the weights that do not train; "bf16" halves
    SDXL's ten gigabytes. kernel: of attention, "sdpa" (torch's own) or "xformers". steps: in an epoch. optimizer:
    "adamw", or "adamw8bit" of bitsandbytes. beta2: of its mean of squared gradients; 1 / (1 - beta2) steps should be
    few of all. clip_norm: largest norm of a step's gradient, 0 for no limit. ema: the decay of the averaged weights.
    checkpointing: of gradients, which saves memory and costs time. snapshot_steps: steps between snapshots.
    sheet_steps: steps between sheets of samples.
    """

    source: str = MISSING
    path: str | None = None
    convention: str = MISSING
    outline: bool = MISSING
    channels: list[int] = field(default_factory=list)
    layers: int = MISSING
    attention: int = MISSING
    depth: int = MISSING
    head: int = MISSING
    prediction: str = MISSING
    zero_snr: bool = MISSING
    mask: float = MISSING
    snr_gamma: float = MISSING
    noise_offset: float = MISSING
    noisier: float = MISSING
    drop: float = MISSING
    drop_all: float = MISSING
    flips: bool = MISSING
    tints: int = MISSING
    trainable: str = MISSING
    frozen: str = MISSING
    kernel: str = MISSING
    lora: Lora = field(default_factory=Lora)
    consistency: Consistency = field(default_factory=Consistency)
    epochs: int = MISSING
    steps: int = MISSING
    batch_size: int = MISSING
    micro_batch: int = MISSING
    optimizer: str = MISSING
    lr: float = MISSING
    beta2: float = MISSING
    weight_decay: float = MISSING
    clip_norm: float = MISSING
    ema: float = MISSING
    checkpointing: bool = MISSING
    snapshot_steps: int = MISSING
    sheet_steps: int = MISSING

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_source("inpainter", self.source, self.path)
        for key, value, known in (
            ("convention", self.convention, CONVENTIONS),
            ("prediction", self.prediction, PREDICTIONS),
            ("trainable", self.trainable, TRAINABLE),
            ("frozen", self.frozen, FROZEN),
            ("kernel", self.kernel, KERNELS),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("consistency.by", self.consistency.by, TEXTURES),
        ):
            check_choice(f"inpainter.{key}", value, known)
        sizes = ("layers", "attention", "depth", "head", "epochs", "steps", "batch_size", "micro_batch")
        weights = ("mask", "snr_gamma", "noise_offset", "weight_decay", "clip_norm", "sheet_steps", "tints")
        check_ranges("inpainter", self, dict.fromkeys((*sizes, "snapshot_steps"), COUNT))
        check_ranges("inpainter", self, {**dict.fromkeys(weights, (0, math.inf)), "noisier": (0, 10)})
        check_ranges("inpainter", self, {"lr": (1e-12, 1e3), "drop": SHARE, "drop_all": SHARE})
        check_ranges("inpainter", self, {"ema": DECAY, "beta2": DECAY})
        check_ranges("inpainter.lora", self.lora, {"rank": COUNT, "alpha": COUNT})
        check_ranges("inpainter.consistency", self.consistency, dict.fromkeys(("texture", "identity"), (0, math.inf)))
        check_ranges("inpainter.consistency", self.consistency, dict.fromkeys(("every", "crop", "samples"), COUNT))
        if self.attention >= len(self.channels) or any(width % self.head for width in self.channels[-self.attention :]):
            raise ConfigError(
                f"inpainter.channels={list(self.channels)}: more levels than inpainter.attention={self.attention}, and "
                f"those with attention multiples of inpainter.head={self.head}"
            )
        if self.trainable == "lora" and self.source == "new":
            raise ConfigError(
                "inpainter.trainable=lora: a new network has no weights to adapt: set inpainter.trainable=full, or "
                "inpainter.source and inpainter.path"
            )
        if self.prediction == "epsilon" and self.zero_snr:
            raise ConfigError(
                "inpainter.prediction=epsilon: with inpainter.zero_snr=true the last step is noise alone, of which the "
                "noise says nothing: set inpainter.prediction=v_prediction or inpainter.zero_snr=false"
            )


def check_source(section: str, source: str, path: str | None) -> None:
    """Refuse an unknown source, and one that needs a path and has none.

    Raises:
        ConfigError: names the key.
    """
    check_choice(f"{section}.source", source, SOURCES)
    if source != "new" and not path:
        where = "a folder with the weights" if source == "file" else "the repository's name"
        raise ConfigError(f"{section}.source={source} needs {section}.path: {where}")
