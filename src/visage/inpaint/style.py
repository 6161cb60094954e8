"""What a network is told of a hairstyle to copy: texture by the texture encoder, colour by plain statistics.

The texture encoder is blind to colour on purpose (docs/LOG.md), so colour goes beside it: mean and deviation of L*,
a* and b* over the upper, middle and lower third of the hair's pixels, so that lighter tips are told too.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from visage.export.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from visage.inpaint.texture_data import even_strands, hairy_part
from visage.inpaint.texture_net import TextureNetwork, load_network
from visage.vision.normalise import normalise
from visage.vision.recolor import to_lab
from visage.vision.resize import resize

KIND = "texture, L*a*b* of thirds"  # written into whatever learns from styles: another kind means other numbers
THIRDS, LOOKS, SEED = 3, 4, 11
COLOURS = THIRDS * 6
CENTRE = np.array([50, 0, 0], np.float32)
SPREAD = np.array([3, 1.5, 1.5], np.float32)  # narrow: colours outweigh the texture's unit vector and are learned first


@dataclass(frozen=True, eq=False)
class StyleEncoder:
    """The texture encoder that train_texture wrote, and the views it is used to."""

    network: TextureNetwork
    config: dict[str, Any]

    @property
    def width(self) -> int:
        """How many numbers a style has."""
        return int(self.network.curl[1].in_features) + COLOURS  # type: ignore[union-attr, arg-type]

    def style(self, hair: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Hair alone, H x W x 4 RGBA at the size of the prepared pictures -> its style, `width` float32.

        Without hair it is 0, which no hair has.
        """
        if not hair[..., 3].any():
            return np.zeros(self.width, np.float32)
        size, rng = int(self.config["size"]), np.random.default_rng(SEED)
        strands = even_strands(hair)
        preprocessing = Preprocessing(size, size, IMAGENET_MEAN, IMAGENET_STD)
        views = []
        for _ in range(LOOKS):
            part = resize(hairy_part(*strands, float(self.config["part"]), rng), size, size)
            views.append(normalise(np.repeat(part[..., None], 3, axis=2), preprocessing))
        with torch.inference_mode():
            texture = self.network(torch.from_numpy(np.stack(views))).embedding.mean(0)
        unit = (texture / texture.norm().clamp_min(1e-12)).numpy()
        return np.concatenate([unit, colours(hair)]).astype(np.float32)


def open_style(path: Path) -> StyleEncoder:
    """The style encoder over the texture encoder in the file `path`.

    Raises:
        VisageError: there is none, or it is something else.
    """
    return StyleEncoder(*load_network(path))


def colours(hair: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The colour statistics of hair alone, H x W x 4 RGBA with some hair: 18 float32 of about 10."""
    pixels = (to_lab(np.ascontiguousarray(hair[..., :3]))[hair[..., 3] != 0] - CENTRE) / SPREAD
    parts = np.array_split(pixels, min(THIRDS, len(pixels)))  # pixels come in the order of rows
    parts += [parts[-1]] * (THIRDS - len(parts))
    return np.concatenate([np.concatenate([part.mean(0), part.std(0)]) for part in parts]).astype(np.float32)
