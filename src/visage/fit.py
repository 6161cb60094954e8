"""`visage fit SECTION`: the largest micro-batch of a trainer that the memory budget allows."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from visage.config import Config, load_config
from visage.errors import ConfigError, DoesNotFitError
from visage.runtime import torch_device, tune

if TYPE_CHECKING:
    from visage.training.memory import Budget


def fit_section(section: str, overrides: Sequence[str]) -> str:
    """The override to use, as a line to print; predictions are those that the stage itself checks.

    Raises:
        ConfigError: no such trainer.
        DoesNotFitError: not even one sample fits.
    """
    if section not in BUDGETS:
        raise ConfigError(f"no trainer section {section!r}: choose one of {', '.join(BUDGETS)}")
    config = load_config(overrides)
    tune(config.runtime)
    torch_device(config.runtime, config.seed)
    from visage.training.memory import per_process

    budget = BUDGETS[section](config)
    batch_size = getattr(config, section).batch_size
    best = budget.largest(per_process(batch_size, batch_size, config.runtime))
    if not best:
        raise DoesNotFitError(
            f"{section}: a sample needs {budget.predicted(1):.0f} MB in each of {config.runtime.processes} processes, "
            f"and {budget.limit:.0f} MB are allowed: raise runtime.memory_gb or use smaller pictures"
        )
    total = budget.predicted(best) * config.runtime.processes / 1024
    # A process's whole share of the batch fits: then any larger number is as good, and the batch is what people expect.
    best = batch_size if best * config.runtime.processes >= batch_size else best
    return f"{section}.micro_batch={best}  # {total:.2f} GB of {config.runtime.memory_gb:g} GB, batch {batch_size}"


def _finetune(config: Config) -> "Budget":
    from visage.faces.finetune import FinetuneTask
    from visage.training.memory import measure

    encoder, size = str(ENCODER / "encoder.safetensors"), config.faces.prepare.size
    return measure(
        FinetuneTask(config.finetune, Path("data/processed/faces"), encoder, size, config.seed), config.runtime
    )


def _pretrain(config: Config) -> "Budget":
    from visage.features.drawn import draw_people
    from visage.features.pretrain_task import PretrainTask
    from visage.training.memory import measure

    few = replace(config.pretrain, people=1, sessions=3, pictures=1)
    with tempfile.TemporaryDirectory(prefix="visage-") as directory:
        draw_people(few, config.seed, Path(directory))
        return measure(PretrainTask(few, config.seed, Path(directory)), config.runtime)


def _pupil(config: Config) -> "Budget":
    from visage.eyes.pupil_task import PupilTask
    from visage.training.memory import measure

    return measure(PupilTask(config.pupil, EYES, config.seed), config.runtime)


def _ellipse(config: Config) -> "Budget":
    from visage.eyes.train_ellipse import EllipseTask
    from visage.training.memory import measure

    return measure(EllipseTask(config.ellipse, EYES, config.seed), config.runtime)


def _segmenter(config: Config) -> "Budget":
    from visage.hair.segmenter_task import SegmenterTask
    from visage.training.memory import measure

    return measure(SegmenterTask(config.segmenter, HAIR, ENCODER, config.seed), config.runtime)


def _patch_head(config: Config) -> "Budget":
    from visage.hair.patch_task import PatchTask
    from visage.training.memory import measure

    return measure(PatchTask(config.patch_head, Path("data/patches"), HAIR), config.runtime)


EYES, HAIR = Path("data/processed/eyes"), Path("data/processed/hair")
ENCODER = Path("artifacts/features/pretrain_encoder")
BUDGETS: dict[str, Callable[[Config], "Budget"]] = {
    "finetune": _finetune,
    "pretrain": _pretrain,
    "pupil": _pupil,
    "ellipse": _ellipse,
    "segmenter": _segmenter,
    "patch_head": _patch_head,
}
