"""Parameters of how painted pictures are sampled, measured and judged: sections `tryout` and `gate`."""

import math
from dataclasses import dataclass

from omegaconf import MISSING

from visage.errors import ConfigError
from visage.runtime import check_choice, check_ranges

SAMPLERS = ("ddim", "dpm", "euler")
NETS = ("vgg", "alex", "squeeze")
COUNT = (1, math.inf)


@dataclass
class Tryout:
    """The `tryout` section: how pictures are sampled and measured.

    sampler: "ddim", "dpm" or "euler" of diffusers. steps: of the sampler. guidance: its scale, 1 for none. pictures: at
    most so many test pictures. lpips: the net of LPIPS, "vgg", "alex" or "squeeze". lpips_file: the weights of that
    net's trunk, as torchvision has them. batch_size: pictures at once.
    """

    sampler: str = MISSING
    steps: int = MISSING
    guidance: float = MISSING
    pictures: int = MISSING
    batch_size: int = MISSING
    lpips: str = MISSING
    lpips_file: str | None = None

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        check_choice("tryout.sampler", self.sampler, SAMPLERS)
        check_choice("tryout.lpips", self.lpips, NETS)
        check_ranges("tryout", self, dict.fromkeys(("steps", "pictures", "batch_size"), COUNT))
        check_ranges("tryout", self, {"guidance": (0, 100)})


@dataclass
class Gate:
    """The `gate` section: what the network must reach to be exported; null asks nothing.

    psnr: least dB within the mask. over_inpaint: least dB above OpenCV's inpainting. over_mean: least dB above the
    hair's mean colour. delta_e: the most that the hair's median colour may be off (CIE76), on its own style and on
    another person's. texture_min, texture_max: fine contrast as a share of the autoencoder's. lpips: the most.
    """

    psnr: float | None = None
    over_inpaint: float | None = None
    over_mean: float | None = None
    delta_e: float | None = None
    texture_min: float | None = None
    texture_max: float | None = None
    lpips: float | None = None

    def check(self) -> None:
        """Refuse what no run could honour.

        Raises:
            ConfigError: names the first such key.
        """
        given = {name: value for name, value in vars(self).items() if value is not None}
        for name, value in given.items():
            if not math.isfinite(value):
                raise ConfigError(f"gate.{name}={value}: give a number, or null to ask nothing")
        if not given:
            raise ConfigError("gate: every threshold is null, so anything would pass: set at least one")
