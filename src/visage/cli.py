"""The `visage` command: thin forms of what the library and the stages do.

Every heavy import is inside the command that needs it, so that `visage --help` answers at once.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from visage.cli_pictures import recolor, tryon
from visage.errors import ConfigError, VisageError

app = typer.Typer(
    help="Experiments on faces, hair and eyes: configuration, training by hand, exported models, reports.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

jobs_app = typer.Typer(
    help="The stores of finished jobs (.visage/jobs): their state, their health, their size.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)
app.add_typer(jobs_app, name="jobs")
data_app = typer.Typer(help="Published data sets.", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(data_app, name="data")
models_app = typer.Typer(help="Published model files.", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(models_app, name="models")

# The trainers: the section of params.yaml that configures each.
TRAINERS = {
    "pretrain_encoder": "pretrain",
    "train_heads": "heads",
    "finetune_faces": "finetune",
    "train_pupil": "pupil",
    "train_ellipse": "ellipse",
    "train_hair_segmenter": "segmenter",
    "train_patch_head": "patch_head",
    "train_texture": "texture",
    "train_autoencoder": "autoencoder",
    "train_inpainter": "inpainter",
}


def command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register `function` as a command whose user errors are one line on stderr and exit code 2."""
    return app.command()(guarded(function))


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, ending a user's mistake with one line on stderr and exit code 2."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except VisageError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2) from None

    return run


@command
def compose(
    overrides: Annotated[Optional[list[str]], typer.Argument(help="such as experiment=smoke or lr=3e-4")] = None,
    check: Annotated[bool, typer.Option("--check", help="write nothing, fail when params.yaml differs")] = False,
) -> None:
    """Write params.yaml from conf/, as `dvc exp run` would."""
    from visage.compose import compose_params, params_differ

    if not check:
        compose_params(overrides or [])
    elif params_differ(overrides or []):
        raise ConfigError("params.yaml is not what conf/ composes to: run visage compose")


@command
def train(
    stage: Annotated[str, typer.Argument(help=f"one of: {', '.join(TRAINERS)}; train_ may be left out")],
    overrides: Annotated[Optional[list[str]], typer.Argument(help="any other key, such as finetune.lr=3e-4")] = None,
    epochs: Annotated[Optional[int], typer.Option()] = None,
    batch_size: Annotated[Optional[int], typer.Option()] = None,
    lr: Annotated[Optional[float], typer.Option(help="the trainer's own learning rate")] = None,
    device: Annotated[Optional[str], typer.Option(help="cpu or cuda")] = None,
    variant: Annotated[Optional[str], typer.Option(help="of train_pupil: tiny, micro or shallow")] = None,
    num_workers: Annotated[Optional[int], typer.Option(help="processes that load data beside each that trains")] = None,
    output_dir: Annotated[Optional[Path], typer.Option(help="checkpoints go here, not into the DAG's folders")] = None,
) -> None:
    """Run one trainer by hand on the prepared data; the same as the stage with overrides."""
    stage = f"train_{stage}" if f"train_{stage}" in TRAINERS else stage
    if stage not in TRAINERS:
        raise ConfigError(f"no trainer {stage!r}: choose one of {', '.join(TRAINERS)}")
    section = TRAINERS[stage]
    given = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "variant": variant}
    words = [f"{section}.{key}={value}" for key, value in given.items() if value is not None]
    words += [f"runtime.device={device}"] if device else []
    words += [f"runtime.loaders={num_workers}"] if num_workers is not None else []
    if device == "cuda":
        # On a GPU one process drives each card; the CPU's data-parallel processes would share one.
        words.append("runtime.processes=1")
    environment = dict(os.environ, PYTHONPATH="src")
    if output_dir is not None:
        environment["VISAGE_OUTPUT_DIR"] = str(output_dir)
    code = [sys.executable, f"stages/{stage}.py", *words, *(overrides or [])]
    if not Path(code[1]).is_file():
        raise ConfigError(f"no {code[1]} in {Path.cwd()}: run from the repository's root")
    raise typer.Exit(subprocess.run(code, env=environment, check=False).returncode)


@command
def fit(
    section: Annotated[str, typer.Argument(help="one of: ellipse, finetune, patch_head, pretrain, pupil, segmenter")],
    overrides: Annotated[Optional[list[str]], typer.Argument(help="such as runtime.memory_gb=12")] = None,
) -> None:
    """Find the largest micro-batch that fits the memory budget, and print the override for it."""
    from visage.fit import fit_section

    print(fit_section(section, overrides or []))


@command
def predict(
    model: Annotated[str, typer.Argument(help="an exported model: a folder, its .onnx, or a name in artifacts/models")],
    images: Annotated[list[Path], typer.Argument(help="pictures or folders of pictures")],
    out: Annotated[Path, typer.Option(help="folder for predictions.jsonl")],
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    alpha: Annotated[bool, typer.Option("--alpha", help="soft masks too: <name>_alpha.png, 0 to 255")] = False,
    size: Annotated[Optional[int], typer.Option(help="pixels of the network's input, a multiple of 32: finer")] = None,
    closer: Annotated[bool, typer.Option("--closer", help="look again where hair may be: small heads")] = False,
) -> None:
    """Answer pictures with an exported model; a bad file is reported and does not stop the others."""
    from visage.serving.predict import predict as run

    summary = run(model, images, out, batch_size=batch_size, alpha=alpha, size=size, closer=closer)
    print(f"{summary.done} answered, {summary.failed} failed: {out / 'predictions.jsonl'}", file=sys.stderr)
    if summary.failed:
        raise typer.Exit(1)


command(recolor)
command(tryon)


@data_app.command("check")
@guarded
def data_check(
    name: Annotated[str, typer.Argument(help="khairstyle")],
    path: Annotated[Path, typer.Argument(help="the folder of training/ and validation/")],
) -> None:
    """Say what a data set holds and lacks, and whether it can be used, before anything runs."""
    from visage.io.khairstyle_check import check_tree, describe

    if name != "khairstyle":
        raise ConfigError(f"no check of {name!r}: there is one of khairstyle")
    tree = check_tree(path)
    usable, why = tree.verdict()
    print("\n".join([*describe(tree), why]))
    if not usable:
        raise typer.Exit(1)


@data_app.command("translate")
@guarded
def data_translate(
    path: Annotated[Path, typer.Argument(help="the folder of training/ and validation/")],
    dictionary: Annotated[Optional[Path], typer.Option("--with", help="JSON: {word or field=word: English}")] = None,
    model: Annotated[Optional[Path], typer.Option(help="folder of a Korean-English model (transformers)")] = None,
) -> None:
    """List the words that conf/mapping_dict.json lacks, and propose entries for review."""
    from visage.io.translate import proposals

    print("\n".join(proposals(path, dictionary, model)))


@data_app.command("fetch")
@guarded
def data_fetch(
    name: Annotated[str, typer.Argument(help="openeds or sddec25")],
    data_dir: Annotated[Path, typer.Option(help="where the data set is kept")] = Path("~/.cache/openeds"),
) -> None:
    """Bring a published data set once, and link it into data/raw/."""
    from visage.io.fetch import fetch

    print(f"ready: {fetch(name, Path('data/raw') / name, data_dir)}")


@models_app.callback()
def models() -> None:
    """Published model files."""


@models_app.command("fetch")
@guarded
def models_fetch(
    name: Annotated[str, typer.Argument(help="hair_segmenter or yunet")],
    source: Annotated[Optional[Path], typer.Option("--from", help="a local copy, checked alike")] = None,
) -> None:
    """Bring a published model file once, checked against its checksum, into data/raw/models/."""
    from visage.io.fetch_models import fetch_model

    print(f"ready: {fetch_model(name, source=source)}")


@command
def runs(
    where: Annotated[Optional[list[str]], typer.Option(help="such as 'accuracy>=0.8'; may be repeated")] = None,
    sort: Annotated[str, typer.Option(help="a column, parameter or metric; -name for descending")] = "-id",
    limit: Annotated[int, typer.Option(min=0, help="0 for all")] = 20,
    json: Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else")] = False,
) -> None:
    """List the runs of every trainer on this machine (experiments/experiments.db)."""
    from visage.tracking.runs import list_runs

    list_runs(where or [], sort, limit, json)


@command
def metrics() -> None:
    """Print the metrics of every stage, a number a line."""
    from visage.tracking.summary import print_metrics

    print_metrics(Path.cwd())


@command
def report(out: Annotated[Path, typer.Option()] = Path("report.html")) -> None:
    """Write one offline page with every metric, plot and picture."""
    from visage.tracking.report import build_report

    print(f"open {build_report(Path.cwd(), out)}")


@jobs_app.callback()
@guarded
def jobs(context: typer.Context) -> None:
    """The state of every queue."""
    from visage.jobs.admin import queues

    if context.invoked_subcommand:
        return
    found = queues()
    if not found:
        print("no queues yet: a stage that works in jobs makes one (dvc repro extract_features)")
    for queue in found:
        state = "done" if queue.done == queue.jobs else "unfinished"
        print(f"{queue.work} {queue.store.name} {queue.plan[:8]}  {state}: {queue.done} of {queue.jobs} jobs, "
              f"{queue.items} items, {queue.bad} bad  {queue.label}")  # fmt: skip


@jobs_app.command("verify")
@guarded
def jobs_verify() -> None:
    """Check every result against its checksum; damaged ones are removed, and the next run computes them again."""
    from visage.jobs.admin import verify

    whole, damaged = verify()
    print(f"{whole} results are whole, {damaged} were damaged and are removed")
    if damaged:
        raise typer.Exit(1)


@jobs_app.command("gc")
@guarded
def jobs_gc(
    days: Annotated[float, typer.Option(help="keep what was used in the last DAYS days; 0 keeps nothing")] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="remove nothing, say how much would go")] = False,
) -> None:
    """Remove results that no queue of the last DAYS days needs; queues that are running keep theirs."""
    from visage.jobs.admin import collect

    files, size = collect(days=days, dry_run=dry_run)
    print(f"{'would remove' if dry_run else 'removed'} {files} files, {size / (1 << 20):.1f} MB")


if __name__ == "__main__":
    app()
