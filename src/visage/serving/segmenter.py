"""Masks for applications: a picture in, its mask and soft alpha out, by an exported model that stays open.

Resizing and normalisation are those of training, read from the model's own card, so that there is nothing to configure
that could disagree. The model is looked up at each call: a new file in its place is used from the next picture on.
"""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visage.errors import VisageError
from visage.export.card import ModelCard
from visage.io.images import read_image
from visage.serving.cache import ModelCache
from visage.serving.closer import Ask
from visage.serving.model import FILE, MODELS, OnnxModel
from visage.serving.tasks import margin_of, soft_of, task_of
from visage.vision.normalise import preprocess

HAIR = "hair"
SEGMENTATION = "segmentation"


@dataclass(frozen=True)
class Segmentation:
    """What a picture of H x W pixels was found to hold.

    mask: HxW uint8 of {0, 1}. alpha: HxW float32 of 0 to 1, above 0.5 where the mask is 1. label: what they are of,
    such as "hair". timings: milliseconds of "decode", "load" (the model, close to 0 when it is open already),
    "prepare", "run" and "finish".
    """

    mask: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    label: str
    model_version: str
    timings: dict[str, float]


class Segmenter:
    """An exported segmentation model; `segment` may be called from several threads at once.

    model: a folder with model.onnx, an .onnx file, or a name under artifacts/models/. size: pixels of the longer side
    of the network's input, a multiple of 32, for finer masks than it was trained for; default its own. closer: look
    again, closer, where hair may be (`visage.serving.closer`), for photographs that are no portraits. cache: where open
    models are kept; default one that all segmenters of the process share.

    Raises:
        VisageError: the model is missing, damaged, foreign, no segmentation model, or cannot be asked in that way.
    """

    def __init__(
        self,
        model: Path | str = HAIR,
        *,
        size: int | None = None,
        closer: bool = False,
        cache: ModelCache | None = None,
    ) -> None:
        self.model, self.size, self.closer = model, size, closer
        self.cache = cache or shared_cache()
        self._open()

    def segment(self, image: Path | str | NDArray[np.uint8]) -> Segmentation:
        """The mask of a picture file, or of HxWx3 uint8 RGB.

        Raises:
            VisageError: the picture or, since it changed, the model cannot be used.
        """
        laps = Laps()
        pixels = image if isinstance(image, np.ndarray) else read_image(image)
        if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,) or not pixels.size:
            raise VisageError(f"a picture of {pixels.dtype} {pixels.shape}: give HxWx3 uint8 RGB")
        laps.lap("decode")
        model, card, ask = self._open()
        laps.lap("load")
        batch = preprocess(pixels, card.preprocessing)[None]
        laps.lap("prepare")
        logits = ask(batch)[0]
        if not np.isfinite(logits).all():
            raise VisageError(f"{model.path}: its answer is not a number: train or export it again")
        laps.lap("run")
        margin = margin_of(logits, pixels.shape[0], pixels.shape[1], card.preprocessing)
        mask, alpha = (margin > 0).astype(np.uint8), soft_of(margin)
        laps.lap("finish")
        return Segmentation(mask, alpha, card.classes[1], card.model_version, laps.milliseconds)

    def _open(self) -> tuple[OnnxModel, ModelCard, Ask]:
        try:
            model = self.cache.get(self.model)
        except VisageError:
            place = MODELS / HAIR / FILE
            if str(self.model) != HAIR or place.exists():
                raise
            raise VisageError(f"no hair model yet ({place}): run dvc repro export_hair, or give a mask") from None
        if model.card.task != SEGMENTATION or len(model.card.classes) != 2:
            raise VisageError(f"{model.path}: does {model.card.task}: give a segmentation model of two classes")
        task_of(model)
        return model, *model.how_to_ask(self.size, self.closer)


class Laps:
    """Milliseconds between calls of `lap`, by name."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """What has passed since the last lap is `name`'s."""
        now = time.perf_counter()
        self.milliseconds[name] = 1000 * (now - self._last)
        self._last = now


@cache
def shared_cache() -> ModelCache:
    """The cache that all segmenters of this process share unless they are given one."""
    return ModelCache()
