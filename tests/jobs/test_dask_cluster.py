"""The cluster of a queue: its job scripts, and a run on it with a queue that starts its jobs on this machine."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from closure import ROOT
from jobs.driver import family, run, shards, store_of, until
from jobs.toywork import items

pytest.importorskip("dask_jobqueue")
OPTIONS = ("--jobs=8", "--cores=4", "--memory=16GiB", "--walltime=03:30:00", "--queue=long", "--account=faces")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """cluster/dask_cluster.py."""
    spec = importlib.util.spec_from_file_location("dask_cluster", ROOT / "cluster/dask_cluster.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("scheduler", "directives"),
    [
        (
            "slurm",
            {"-J visage", "-p long", "-A faces", "-n 1", "--cpus-per-task=4", "--mem=16G", "-t 03:30:00"},
        ),
        ("pbs", {"-N visage", "-q long", "-A faces", "-l select=1:ncpus=4:mem=16GB", "-l walltime=03:30:00"}),
    ],
)
def test_a_job_script_asks_for_what_was_asked(
    script: ModuleType, capsys: pytest.CaptureFixture[str], scheduler: str, directives: set[str]
) -> None:
    assert script.main(["--scheduler", scheduler, *OPTIONS, "--print"]) == 0
    lines = capsys.readouterr().out.splitlines()
    mark = {"slurm": "#SBATCH ", "pbs": "#PBS "}[scheduler]
    assert lines[0] == "#!/usr/bin/env bash"
    given = {line.removeprefix(mark) for line in lines if line.startswith(mark)}
    assert directives == {line for line in given if not line.startswith(("-e", "-o"))}
    assert {line.split()[1].startswith(str(script.LOGS)) for line in given - directives} == {True}
    *prologue, worker = [line for line in lines if line and not line.startswith("#")]
    assert prologue[0] == f"cd '{ROOT}'" and f"{ROOT}/src" in prologue[1]
    assert worker.startswith(f"{sys.executable} -m distributed.cli.dask_worker tcp://")
    assert "--nworkers 4 --nanny" in worker and "--nthreads 1 --memory-limit 4.00GiB" in worker


def test_stages_run_on_the_workers_that_the_queue_starts(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    given = {"root": str(tmp_path / "there"), "items": [[item.key, item.source] for item in items(6)]}
    (tmp_path / "given.json").write_text(json.dumps({**given, "output": str(tmp_path / "output")}))
    programs = {
        # A queue keeps the script; the file is gone when the job begins.
        "sbatch": f'job=$(cat "$1"); bash -c "$job" > {tmp_path}/log 2>&1 & echo "Submitted batch job $!"',
        "scancel": f'echo "$@" >> {tmp_path}/cancelled; kill "$@"',
        # In the place of a stage: the toy's queue, with the engine that the environment names.
        "dvc": f'echo "$@" > {tmp_path}/asked; exec {sys.executable} -m jobs.driver < {tmp_path}/given.json',
    }
    for name, program in programs.items():
        (tmp_path / "bin" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT / 'tests'}")
    monkeypatch.setenv("VISAGE_TEST_MARK", str(tmp_path))
    options = ["--scheduler=slurm", "--cores=1", "--memory=1GB", "extract_features"]
    assert script.main(options) == 0, capfd.readouterr().err
    assert (tmp_path / "asked").read_text() == "repro extract_features\n"
    assert (tmp_path / "output").read_bytes() == run(tmp_path / "here", items(6))
    assert shards(tmp_path / "there") == shards(tmp_path / "here")
    ours = f":{os.getpid()}"
    assert not any(record.worker.endswith(ours) for record in store_of(tmp_path / "there").records().values())
    assert (tmp_path / "cancelled").read_text().split()
    until(lambda: not family(str(tmp_path), ""))  # the workers leave with their scheduler


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheduler=slurm"], "name the stages to run"),
        (["--scheduler=pbs", "extract_features"], "qsub is not here: run on a machine that submits jobs"),
        (["--scheduler=slurm", "--print", "--cores=0"], "must be at least 1"),
        (["--scheduler=slurm", "--print", "--memory=much"], "--memory much: it must be a size such as 16GB"),
    ],
)
def test_mistakes_are_one_line(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit):
        script.main(arguments)
    assert message in capsys.readouterr().err.splitlines()[-1]
