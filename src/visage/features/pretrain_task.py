"""What an encoder is pretrained on: telling drawn people apart, naming their hair, and finding it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.export.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from visage.features import encoders
from visage.features.config import Pretrain
from visage.features.drawn import ATTRIBUTES, Drawn, load_people
from visage.features.pyramid import WIDTH, Answer, Pyramid, hair_score
from visage.training.dice import soft_dice
from visage.training.optimizer import adamw
from visage.training.plan import Key
from visage.vision.augment import Augmentation, augment_with
from visage.vision.normalise import normalise

# The weight of the hair attributes together, beside 1 for the person. With 1, people in new sessions were told apart
# better than with 0.5 (0.66 against 0.57 of 120): what hair looks like is part of what a person looks like.
ATTRIBUTE_WEIGHT = 1.0
# Of finding the hair. Without it the features serve faces as well but not the hair segmenters (docs/LOG.md).
HAIR_WEIGHT = 1.0
COARSE_WEIGHT = 0.4
# The drawn views vary by themselves: at more than twice these strengths training accuracy stayed at that of new
# sessions.
AUGMENTATION = Augmentation(rotation=4.0, brightness=0.1, contrast=0.1, saturation=0.1, scale=0.04, shift=0.02)


class ManyHeads(nn.Module):
    """An encoder with one linear head for the person and one for each hair attribute, all in one layer of logits, and a
    pyramid on its maps that answers where hair is."""

    def __init__(self, arch: str, people: int) -> None:
        super().__init__()
        self.widths = [people, *(len(values) for values in ATTRIBUTES.values())]
        self.encoder = encoders.build(arch, sum(self.widths))
        architecture = encoders.get_architecture(arch)
        self.ends = architecture.ends
        self.pyramid = Pyramid(architecture.channels)
        self.hair = nn.Sequential(nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True), Answer(WIDTH))

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(N, 3, H, W) normalised -> (N, people + attribute values) and three of (N, 2, h, w) for hair, at strides 4,
        16 and 8; all logits. H and W of at least 32."""
        children = self.encoder.get_submodule
        maps, last = encoders.maps_at(children("features").children(), self.ends, images)
        names = children("classifier")(torch.flatten(children("avgpool")(last), 1))
        value, coarse = self.pyramid(maps)
        return names, (self.hair(value), *coarse)


class PretrainTask:
    """Person, hair attributes and hair from drawn pictures; the last session of every person is for validation."""

    def __init__(self, settings: Pretrain, seed: int, directory: Path) -> None:
        drawn = load_people(directory)
        self.model = ManyHeads(settings.arch, settings.people)
        self.settings = settings
        last = settings.sessions - 1
        self.train_samples = self._samples(drawn, [s != last for s in drawn.session], AUGMENTATION, seed)
        self.valid_samples = self._samples(drawn, [s == last for s in drawn.session], None, seed)

    def _samples(self, drawn: Drawn, keep: list[bool], augmentation: Augmentation | None, seed: int) -> "DrawnSamples":
        rows = np.flatnonzero(keep).tolist()
        return DrawnSamples(drawn, rows, preprocessing(self.settings.size), augmentation, seed)

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW."""
        return adamw(self.model, self.settings.lr, self.settings.weight_decay)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Cross-entropy of the person, of the attributes and of hair, the last with Dice; statistics are right answers
        by name, and pixels in hair and answer ("common") and in either."""
        images, coverage, *targets = batch
        names, hair = model(images)
        logits = names.split(self.model.widths, dim=1)
        losses = [functional.cross_entropy(part, target) for part, target in zip(logits, targets, strict=True)]
        right = {
            name: (part.argmax(1) == target).sum()
            for name, part, target in zip(("person", *ATTRIBUTES), logits, targets, strict=True)
        }
        found, *coarse = (hair_score(answer) for answer in hair)
        truth = cells(coverage, found)
        entropy = functional.binary_cross_entropy_with_logits
        finding = entropy(found, truth) + soft_dice(torch.sigmoid(found), truth)
        finding = finding + COARSE_WEIGHT * sum(entropy(answer, cells(coverage, answer)) for answer in coarse)
        answer, mask = found.detach() > 0, truth >= 0.5
        overlap = {"common": (answer & mask).sum(), "either": (answer | mask).sum()}
        return losses[0] + ATTRIBUTE_WEIGHT * torch.stack(losses[1:]).mean() + HAIR_WEIGHT * finding, right | overlap

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """Accuracy of the person and of each attribute; IoU of hair over all pixels of the maps."""
        accuracies = {f"{name}_accuracy": sums[name] / count for name in ("person", *ATTRIBUTES)}
        return accuracies | {"hair_iou": sums["common"] / max(sums["either"], 1)}


class DrawnSamples:
    """Rows `rows` of `drawn` as (picture 3 x S x S float32 normalised, hair S x S uint8, targets...), both moved alike
    where `augmentation` is given."""

    def __init__(
        self, drawn: Drawn, rows: list[int], fitting: Preprocessing, augmentation: Augmentation | None, seed: int
    ) -> None:
        self.drawn, self.rows, self.fitting = drawn, rows, fitting
        self.augmentation, self.seed = augmentation, seed

    def __len__(self) -> int:
        return len(self.rows)

    def resident_bytes(self) -> int:
        """Nothing: the files are mapped, and their pages are the system's."""
        return 0

    def __getitem__(self, key: Key) -> tuple[Any, ...]:
        epoch, index = key
        row = self.rows[index]
        image, hair = np.array(self.drawn.pictures[row]), np.array(self.drawn.hair[row])
        if self.augmentation is not None:
            rng = np.random.default_rng((self.seed, epoch, index, 1))
            image, hair = augment_with(image, (hair,), self.augmentation, rng)
        return normalise(image, self.fitting), hair, *self.drawn.targets[row]


def cells(coverage: Tensor, like: Tensor) -> Tensor:
    """(N, S, S) uint8 of 0..255 -> (N, h, w) float32 of 0..1: the means over the pixels that each value of `like`
    (N, h, w) answers for."""
    return functional.adaptive_avg_pool2d(coverage.float()[:, None] / 255, (like.shape[1], like.shape[2]))[:, 0]


def preprocessing(size: int) -> Preprocessing:
    """How pictures become the input of every encoder here."""
    return Preprocessing(size, size, IMAGENET_MEAN, IMAGENET_STD)
