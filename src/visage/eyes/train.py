"""Training of any eye network: what the trainers of pupils and of ellipses have in common, from budget to checkpoints.

A trainer says what is trained (`Training`); here it is fitted, so that both keep the same checkpoints, record the same
things of a run, and continue in the same way after a kill.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from visage.eyes.checkpoints import KEEP_EVERY, KEEP_IMPROVEMENTS, write_checkpoints
from visage.eyes.config import Ellipse, Pupil
from visage.eyes.networks import KINDS, history_file
from visage.eyes.prepared import META, load_set
from visage.io.atomic import sha256_file
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training import checkpoint, memory
from visage.training.fit import fit
from visage.training.freeze import count_parameters
from visage.training.measured import write_measured
from visage.training.state import Progress
from visage.training.task import Settings, TaskFactory

# Share of the steps until the rate's peak: a run of a few hundred steps has none to lose.
WARMUP = 0.1


@dataclass(frozen=True)
class Training:
    """What is trained.

    stage: of the DAG. section: of params.yaml, whose values are `settings`. kind: of `KINDS`. monitor, mode: the
    validation metric that decides which epoch is kept. label: what that is called in the names of checkpoints.
    measured: metrics to report. facts: numbers to report with them.
    """

    stage: str
    section: str
    settings: Pupil | Ellipse
    kind: str
    factory: TaskFactory
    monitor: str
    mode: str
    label: str
    measured: tuple[str, ...]
    facts: Mapping[str, float] = field(default_factory=dict)


def train(
    training: Training, runtime: Runtime, *, seed: int, data: Path, out: Path, metrics: Path, plots: Path
) -> Progress:
    """Train, and write the checkpoints and the history into `out`, the metrics, and the curves (plots/history.csv).

    data: what prepare_eyes wrote.

    Raises:
        VisageError: what cannot be honoured, found before training begins.
        Unfinished: the time limit came first.
    """
    settings, kind = training.settings, KINDS[training.kind]
    device, eyes = torch_device(runtime, seed), load_set(data)
    task = training.factory()
    budget = memory.measure(task, runtime)
    memory.check(budget, f"{training.section}.micro_batch", settings.micro_batch, settings.batch_size, runtime)
    total, trained = count_parameters(task.model)
    print(f"samples: {len(task.train_samples)} training, {len(task.valid_samples)} validation frames")
    print(f"model: {kind.model_type}, {total:,} parameters, {trained:,} of them train")
    print(f"device: {device}, {runtime.processes} x {runtime.threads} threads", flush=True)
    # The description of the prepared eyes holds a hash of all that is in them.
    identity = {
        training.section: settings,
        "runtime": runtime.results(),
        "seed": seed,
        "data": sha256_file(data / META),
    }
    tags = {"model_type": kind.model_type, "architecture": kind.architecture}
    facts = {"height": eyes.height, "width": eyes.width, "config": asdict(settings)}
    loop = loop_settings(training, seed)
    name = training.stage if training.kind == training.section else f"{training.stage}_{training.kind}"
    with (
        checkpoint.resumable(name, identity) as directory,
        track(training.stage, params=identity, tags=tags, live_dir=out / "live") as tracker,
    ):
        fitted = fit(training.factory, loop, runtime, directory, tracker)
        best = fitted.progress
        write_checkpoints(fitted, training.kind, loop, training.label, facts, out, tracker)
        numbers = {"parameters": trained, **training.facts}
        histories = plots / "history.csv", out / history_file(training.kind)
        write_measured(fitted, training.measured, numbers, metrics, histories)
        tracker.summary({f"best_valid_{training.monitor}": best.best_value, "best_epoch": best.best_epoch + 1})
    return best


def loop_settings(training: Training, seed: int) -> Settings:
    """The part of the settings that the loop needs.

    The rate warms up and anneals over the run (one cycle), which is what lets such small networks learn in a few
    hundred steps.
    """
    settings = training.settings
    return Settings(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        micro_batch=settings.micro_batch,
        seed=seed,
        monitor=training.monitor,
        mode=training.mode,
        patience=settings.early_stop,
        schedule="onecycle",
        schedule_options={"warmup": WARMUP},
        keep_every=KEEP_EVERY,
        keep_improvements=KEEP_IMPROVEMENTS,
        compile=True,
    )
