"""Hair masks for try-on: by this project's segmenter, or by a SegFormer for face parsing in a local folder.

SegFormers number their classes as they like (hair is 13 in one, 17 in another, which is a neck in the first), so the
number is read from the model's own names.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError, VisageError
from visage.serving.segmenter import HAIR, Segmenter

SPECK = 0.02  # of the largest part's area: smaller parts are no hair
SEGFORMER = "a SegFormer for face parsing such as jonathandinu/face-parsing, as safetensors"
Pixels = NDArray[np.uint8]
# H x W x 3 uint8 RGB -> H x W of {0, 1}.
Finder = Callable[[Pixels], Pixels]


def open_finder(segmenter: Segmenter | Path | str = HAIR, segformer: Path | None = None) -> Finder:
    """What finds hair: the SegFormer in a folder where one is given, else a `Segmenter` or the model it opens.

    Raises:
        VisageError: the model is missing, something else, or does not know hair.
    """
    if segformer is not None:
        return _segformer(segformer)
    opened = segmenter if isinstance(segmenter, Segmenter) else Segmenter(segmenter)

    def find(image: Pixels) -> Pixels:
        found = opened.segment(image)
        if found.label != HAIR:
            raise VisageError(f"{opened.model}: finds {found.label}, not hair: give a hair model or a mask")
        return without_specks(found.mask)

    return find


def without_specks(mask: Pixels) -> Pixels:
    """`mask` (H x W of {0, 1}) without the parts that are tiny beside its largest: one of them in a far corner would
    decide which part of the picture is worked on."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if count <= 1:
        return mask
    kept = np.concatenate([[False], areas >= SPECK * areas.max()])
    return kept[labels].astype(np.uint8)


def _segformer(folder: Path) -> Finder:
    import torch
    from transformers import AutoImageProcessor, SegformerForSemanticSegmentation

    from visage.export.local_model import load_local

    network = load_local(SegformerForSemanticSegmentation, folder, SEGFORMER)
    names = {str(name).lower(): int(number) for name, number in network.config.label2id.items()}
    if HAIR not in names:
        raise DataError(f"{folder}: has no class {HAIR!r} (it has {', '.join(sorted(names)[:20])}): bring {SEGFORMER}")
    try:
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError):
        raise DataError(f"{folder}: no readable preprocessor_config.json there: bring {SEGFORMER}") from None

    def find(image: Pixels) -> Pixels:
        height, width = image.shape[:2]
        with torch.inference_mode():
            logits = network(**processor(images=image, return_tensors="pt")).logits
            logits = torch.nn.functional.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
        return without_specks((logits[0].argmax(0) == names[HAIR]).numpy().astype(np.uint8))

    return find
