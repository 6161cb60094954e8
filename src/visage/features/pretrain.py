"""`pretrain_encoder`: gives the embedded default features that mean something, without a download.

One network learns to tell drawn people apart, to name their hair and to find it, and is measured on a session of each
person that it has not seen; the heads it learned with are thrown away. Weights from elsewhere pass through the same
stage, so that all that follows depends on one file whose hash is on record.
"""

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from visage.export.card import IMAGENET_MEAN, IMAGENET_STD
from visage.export.weights import write_safetensors
from visage.features import encoders
from visage.features.config import Pretrain
from visage.features.drawn import ATTRIBUTES, draw_people
from visage.features.pretrain_task import ManyHeads, PretrainTask
from visage.features.pyramid import PYRAMID
from visage.io.atomic import sha256_file, write_json
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training import checkpoint, memory
from visage.training.fit import Fitted, fit
from visage.training.history import write_history
from visage.training.task import Settings


def pretrain(settings: Pretrain, runtime: Runtime, *, seed: int, out: Path, metrics: Path, plots: Path) -> None:
    """Write the encoder (out/encoder.safetensors, out/encoder.json), the pyramid for hair that was trained with it, if
    one was (out/pyramid.safetensors), its metrics, and its curves (plots/history.csv).

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
    state, pyramid, measured, history = weights
    model = encoders.build(settings.arch, 1)
    encoders.load_encoder_state(model, state, f"pretrain.source={settings.source}")
    _write_encoder(out, settings, encoders.encoder_state(model))
    (out / PYRAMID).unlink(missing_ok=True)
    if pyramid:
        write_safetensors(out / PYRAMID, pyramid)
    digest = sha256_file(out / "encoder.safetensors")
    write_json(metrics, {"source": settings.source, "arch": settings.arch, "sha256": digest[:16], **measured})
    write_history(plots / "history.csv", history)
    print(f"encoder: {settings.arch} from {settings.source}, sha256 {digest[:12]}")


# The encoder, the pyramid (empty: none), what was measured, the history.
Weights = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any], list[dict[str, float]]]


def _train(settings: Pretrain, runtime: Runtime, seed: int, directory: Path) -> Weights:
    """Draw and train; the best epoch's weights, its metrics and the history."""
    draw_people(settings, seed, directory)
    factory = partial(PretrainTask, settings, seed, directory)
    with track(
        "pretrain_encoder", params={"pretrain": settings, "runtime": runtime.results(), "seed": seed}
    ) as tracker:
        torch_device(runtime, seed)
        memory.check(
            memory.measure(factory(), runtime),
            "pretrain.micro_batch",
            settings.micro_batch,
            settings.batch_size,
            runtime,
        )
        fitted: Fitted = fit(factory, loop_settings(settings, seed), runtime, directory, tracker)
        best = fitted.progress.history[fitted.progress.best_epoch]
        measured: dict[str, Any] = {k: round(v, 4) for k, v in best.items() if k.startswith("valid_") or k == "epoch"}
        tracker.summary(measured)
    model = ManyHeads(settings.arch, settings.people)
    model.load_state_dict(checkpoint.load(fitted.best)["model"])
    chance = {"person": settings.people, **{name: len(values) for name, values in ATTRIBUTES.items()}}
    measured["chance"] = {name: round(1 / count, 4) for name, count in chance.items()}
    return encoders.encoder_state(model.encoder), model.pyramid.state_dict(), measured, fitted.progress.history


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
    return encoders.imagenet_state(settings.arch), {}, {"valid_person_accuracy": "not measured"}, []


def _from_file(settings: Pretrain, runtime: Runtime, seed: int, directory: Path) -> Weights:
    encoders.check_watched(settings.path, "pretrain.path")
    state = encoders.file_state(settings.path, "pretrain.path")
    return state, {}, {"valid_person_accuracy": "not measured"}, []


def _write_encoder(out: Path, settings: Pretrain, state: dict[str, Tensor]) -> None:
    """The weights, and beside them what they are of."""
    write_safetensors(out / "encoder.safetensors", state)
    dim = encoders.get_architecture(settings.arch).dim
    write_json(
        out / "encoder.json",
        {
            "arch": settings.arch,
            "dim": dim,
            "source": settings.source,
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
        },
    )
