"""The patch head's training problem: cached maps and the hair in their boxes, without a picture or an encoder.

Labels come from the prepared coverage, moved into the original's frame and cut to the patch, at the resolution of the
head's logits. They are as fine as the prepared pictures are: of an original s times their size a label's edge is known
to about s pixels, whatever the patch could show.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from visage.errors import DataError
from visage.hair.config import PatchHead as PatchHeadSettings
from visage.hair.patch_head import OUT_STRIDE, PatchHead
from visage.hair.patch_manifest import PatchSet, load_patches
from visage.hair.prepared import HairSet, load_set
from visage.training.dice import soft_dice
from visage.training.optimizer import adamw
from visage.training.plan import Key
from visage.training.rows import training_rows
from visage.vision.patches import Box

EDGE_RADIUS = 2  # logits either way in which a label has to change for a pixel to count as near the edge


class PatchSamples:
    """Patches `rows` of `patches`: gives (maps K float16, coverage S/2 x S/2 uint8), and whole batches at once."""

    def __init__(self, patches: PatchSet, hair: HairSet, rows: NDArray[np.intp]) -> None:
        self.patches, self.hair, self.rows = patches, hair, rows
        places = {row["sample_id"]: place for place, row in enumerate(hair.rows)}
        try:
            self.places = [places[patches.rows[row]["sample_id"]] for row in rows]
        except KeyError as error:
            raise DataError(f"the prepared hair has no picture {error}: run extract_patches again") from None

    def __len__(self) -> int:
        return len(self.rows)

    def resident_bytes(self) -> int:
        """Nothing: the files are mapped, and their pages are the system's."""
        return 0

    def label(self, index: int) -> NDArray[np.uint8]:
        """The coverage in a patch's box, 0 beyond the picture."""
        return patch_label(self.hair, self.places[index], self.patches.box(int(self.rows[index])), self.patches.size)

    def __getitems__(self, keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
        """The samples at `keys` collated, in the order of the file, so that it is read on."""
        indices = np.sort(np.fromiter((index for _, index in keys), np.intp, len(keys)))
        maps = torch.from_numpy(self.patches.features.take(self.rows[indices], axis=0))
        return maps, torch.from_numpy(np.stack([self.label(int(index)) for index in indices]))

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        maps, labels = self.__getitems__([key])
        return maps[0], labels[0]


def patch_label(hair: HairSet, row: int, box: Box, size: int) -> NDArray[np.uint8]:
    """Coverage in `box` of the original of prepared picture `row`: S/2 x S/2 uint8, S = `size`, by linear
    interpolation; 0 beyond the picture."""
    alpha, facts = hair.alphas[row][hair.inside(row)], hair.rows[row]
    across, down = (alpha.shape[1] / int(facts["file_width"]), alpha.shape[0] / int(facts["file_height"]))
    # Centres of pixels: (u + 1/2) logits of 2 pixels from the box's corner, in the prepared picture less half a pixel.
    half = OUT_STRIDE / 2
    matrix = np.array(
        [
            [OUT_STRIDE * across, 0, (box.x0 + half) * across - 0.5],
            [0, OUT_STRIDE * down, (box.y0 + half) * down - 0.5],
        ]
    )
    side = size // OUT_STRIDE
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    label = cv2.warpAffine(
        np.ascontiguousarray(alpha), matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    label[-(-(box.y1 - box.y0) // OUT_STRIDE) :] = 0
    label[:, -(-(box.x1 - box.x0) // OUT_STRIDE) :] = 0
    return np.asarray(label, np.uint8)


class PatchTask:
    """Hair in patches by weighted cross-entropy and Dice; statistics are pixels in both and in either of the masks."""

    def __init__(self, settings: PatchHeadSettings, patches: Path, data: Path) -> None:
        self.settings = settings
        self.patches, hair = load_patches(patches), load_set(data)
        train, valid = training_rows(self.patches.split, "patches", "hair.prepare.train")
        self.train_samples = PatchSamples(self.patches, hair, train)
        self.valid_samples = PatchSamples(self.patches, hair, valid)
        mean, std = torch.from_numpy(self.patches.mean), torch.from_numpy(self.patches.std)
        self.model = PatchHead(self.patches.shapes, self.patches.size, settings.width, mean, std)

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW."""
        return adamw(self.model, self.settings.lr, self.settings.weight_decay)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Cross-entropy of coverage, pixels near an edge counting `boundary` times more, plus Dice of the batch."""
        maps, labels = batch
        logits, truth = model(maps), labels.float() / 255
        weight = 1 + self.settings.boundary * near_edge(truth)
        bce = (functional.binary_cross_entropy_with_logits(logits, truth, weight) / weight.mean()).float()
        dice = soft_dice(torch.sigmoid(logits), truth)
        answer, hair = logits.detach() > 0, truth >= 0.5
        # The loop weighs the mean loss by the batch's size, sums it does not.
        count = len(labels)
        return bce + dice, {
            "bce": bce.detach() * count,
            "dice": dice.detach() * count,
            "common": (answer & hair).sum(),
            "either": (answer | hair).sum(),
        }

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """IoU of hair over all pixels of all patches, and the parts of the loss."""
        return {
            "iou": sums["common"] / max(sums["either"], 1),
            "bce_loss": sums["bce"] / count,
            "dice_loss": sums["dice"] / count,
        }


def near_edge(truth: Tensor) -> Tensor:
    """1 where coverage (N, H, W in [0, 1]) changes by more than half within `EDGE_RADIUS`, else 0; the same shape."""
    side = 2 * EDGE_RADIUS + 1
    # Maxima of rows and then of columns: a tenth of the comparisons of one square.
    both = torch.stack([truth, -truth], 1)
    rows = functional.max_pool2d(both, (1, side), 1, (0, EDGE_RADIUS))
    highest = functional.max_pool2d(rows, (side, 1), 1, (EDGE_RADIUS, 0))
    return (highest.sum(1) > 0.5).float()
