"""`pretrain_encoder`: gives the embedded default features that mean something, without a download.

One network learns to tell drawn people apart and to name their hair, and is measured on a session of each person that
it has not seen; the classifiers it learned with are thrown away. Weights from elsewhere pass through the same stage, so
that all that follows depends on one file whose hash is on record.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.export.card import Preprocessing
from visage.features import encoders
from visage.features.config import Pretrain
from visage.features.drawn import ATTRIBUTES, Drawn, draw_people, load_people
from visage.features.samples import PictureSamples
from visage.io.atomic import sha256_file, write_bytes, write_json
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training import checkpoint, memory
from visage.training.fit import Fitted, fit
from visage.training.history import write_history
from visage.training.task import Settings
from visage.vision.augment import Augmentation

# The weight of the hair attributes together, beside 1 for the person. With 1, people in new sessions were told apart
# better than with 0.5 (0.66 against 0.57 of 120): what hair looks like is part of what a person looks like.
ATTRIBUTE_WEIGHT = 1.0
# The drawn views vary by themselves: at more than twice these strengths training accuracy stayed at that of new
# sessions.
AUGMENTATION = Augmentation(rotation=4.0, brightness=0.1, contrast=0.1, saturation=0.1, scale=0.04, shift=0.02)


class ManyHeads(nn.Module):
    """An encoder with one linear head for the person and one for each hair attribute, all in one layer of logits."""

    def __init__(self, arch: str, people: int) -> None:
        super().__init__()
        self.widths = [people, *(len(values) for values in ATTRIBUTES.values())]
        self.encoder = encoders.build(arch, sum(self.widths))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised -> (N, people + attribute values)."""
        return self.encoder(images)


class PretrainTask:
    """Person and hair attributes from drawn pictures; the last session of every person is for validation."""

    def __init__(self, settings: Pretrain, seed: int, directory: Path) -> None:
        drawn = load_people(directory)
        self.model = ManyHeads(settings.arch, settings.people)
        self.settings = settings
        last = settings.sessions - 1
        self.train_samples = self._samples(drawn, [s != last for s in drawn.session], AUGMENTATION, seed)
        self.valid_samples = self._samples(drawn, [s == last for s in drawn.session], None, seed)

    def _samples(self, drawn: Drawn, keep: list[bool], augmentation: Augmentation | None, seed: int) -> PictureSamples:
        chosen = np.flatnonzero(keep).tolist()
        targets = [drawn.targets[index] for index in chosen]
        return PictureSamples(
            lambda index: drawn.pictures[chosen[index]], targets, preprocessing(self.settings.size), augmentation, seed
        )

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW with weight decay on matrices only: it would only pull biases and norms off."""
        parameters = list(self.model.parameters())
        matrices = [p for p in parameters if p.ndim > 1]
        others = [p for p in parameters if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": self.settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.settings.lr, fused=True)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Cross-entropy of the person plus a share for the attributes; statistics are right answers by name."""
        images, *targets = batch
        logits = model(images).split(self.model.widths, dim=1)
        losses = [functional.cross_entropy(part, target) for part, target in zip(logits, targets, strict=True)]
        right = {
            name: (part.argmax(1) == target).sum()
            for name, part, target in zip(("person", *ATTRIBUTES), logits, targets, strict=True)
        }
        return losses[0] + ATTRIBUTE_WEIGHT * torch.stack(losses[1:]).mean(), right

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """Accuracy of the person and of each attribute."""
        return {f"{name}_accuracy": sums[name] / count for name in ("person", *ATTRIBUTES)}


def preprocessing(size: int) -> Preprocessing:
    """How pictures become the input of every encoder here."""
    return Preprocessing(size, size, encoders.IMAGENET_MEAN, encoders.IMAGENET_STD)


def pretrain(settings: Pretrain, runtime: Runtime, *, seed: int, out: Path, metrics: Path, plots: Path) -> None:
    """Write the encoder (out/encoder.safetensors, out/encoder.json), its metrics, and its curves (plots/history.csv).

    Raises:
        ConfigError: weights of another architecture.
        MissingWeightsError: weights from elsewhere are not there.
    """
    sources = {"drawn": _train, "imagenet": _from_imagenet, "file": _from_file}
    # The state holds the trained weights and the drawn pictures until all of the output is there.
    identity = {"settings": settings, "runtime": runtime.results(), "seed": seed}
    with checkpoint.resumable("pretrain_encoder", identity) as directory:
        weights = sources[settings.source](settings, runtime, seed, directory)
        _write(weights, settings, out, metrics, plots)


def _write(weights: "Weights", settings: Pretrain, out: Path, metrics: Path, plots: Path) -> None:
    """Everything that the stage leaves behind."""
    state, measured, history = weights
    model = encoders.build(settings.arch, 1)
    encoders.load_encoder_state(model, state, f"pretrain.source={settings.source}")
    _write_encoder(out, settings, encoders.encoder_state(model))
    digest = sha256_file(out / "encoder.safetensors")
    write_json(metrics, {"source": settings.source, "arch": settings.arch, "sha256": digest[:16], **measured})
    write_history(plots / "history.csv", history)
    print(f"encoder: {settings.arch} from {settings.source}, sha256 {digest[:12]}")


Weights = tuple[dict[str, Tensor], dict[str, Any], list[dict[str, float]]]


def _train(settings: Pretrain, runtime: Runtime, seed: int, directory: Path) -> Weights:
    """Draw and train; the best epoch's weights, its metrics and the history."""
    draw_people(settings, seed, directory)
    factory = partial(PretrainTask, settings, seed, directory)
    with track(
        "pretrain_encoder", params={"pretrain": settings, "runtime": runtime.results(), "seed": seed}
    ) as tracker:
        torch_device(runtime, seed)
        memory.check(memory.measure(factory(), runtime), "pretrain", settings.micro_batch, settings.batch_size, runtime)
        fitted: Fitted = fit(factory, loop_settings(settings, seed), runtime, directory, tracker)
        best = fitted.progress.history[fitted.progress.best_epoch]
        measured: dict[str, Any] = {k: round(v, 4) for k, v in best.items() if k.startswith("valid_") or k == "epoch"}
        tracker.summary(measured)
    model = ManyHeads(settings.arch, settings.people)
    model.load_state_dict(checkpoint.load(fitted.best)["model"])
    chance = {"person": settings.people, **{name: len(values) for name, values in ATTRIBUTES.items()}}
    measured["chance"] = {name: round(1 / count, 4) for name, count in chance.items()}
    return encoders.encoder_state(model.encoder), measured, fitted.progress.history


def loop_settings(settings: Pretrain, seed: int) -> Settings:
    """The part of `settings` that the loop needs."""
    return Settings(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        micro_batch=settings.micro_batch,
        seed=seed,
        monitor="person_accuracy",
        schedule="onecycle",
    )


def _from_imagenet(settings: Pretrain, runtime: Runtime, seed: int, directory: Path) -> Weights:
    return encoders.imagenet_state(settings.arch), {"valid_person_accuracy": "not measured"}, []


def _from_file(settings: Pretrain, runtime: Runtime, seed: int, directory: Path) -> Weights:
    encoders.check_watched(settings.path, "pretrain.path")
    state = encoders.file_state(settings.path, "pretrain.path")
    return state, {"valid_person_accuracy": "not measured"}, []


def _write_encoder(out: Path, settings: Pretrain, state: dict[str, Tensor]) -> None:
    """The weights, and beside them what they are of."""
    from safetensors.torch import save

    write_bytes(out / "encoder.safetensors", save({name: state[name].contiguous() for name in sorted(state)}))
    dim = encoders.get_architecture(settings.arch).dim
    write_json(
        out / "encoder.json",
        {
            "arch": settings.arch,
            "dim": dim,
            "source": settings.source,
            "mean": encoders.IMAGENET_MEAN,
            "std": encoders.IMAGENET_STD,
        },
    )
