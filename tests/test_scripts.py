"""scripts/train_hair_segmentation.sh, with stubs in the place of every command that would do something."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from closure import ROOT

SCRIPT = ROOT / "scripts/train_hair_segmentation.sh"
STUBBED = ("apt-get", "dvc", "git", "make", "nvidia-smi", "papermill", "python3.11", "sudo", "tar", "visage")
STOP = ("--stop-command", "echo stopped >> calls")


class Machine:
    """A bare machine: a folder with the script in a repository, where commands only write down how they are called."""

    def __init__(self, path: Path) -> None:
        self.path, self.bin = path, path / "bin"
        self.bin.mkdir()
        (path / "scripts").mkdir()
        (path / "dvc.yaml").touch()
        self.script = shutil.copy2(SCRIPT, path / "scripts")
        self.environment = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(path)}
        for name in STUBBED:
            self.stub(name, "")

    def stub(self, name: str, body: str) -> None:
        """Let command `name` do `body` after it has been written down."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self.path}/calls"\n{body}\n', encoding="utf-8")
        path.chmod(0o755)

    def run(self, *options: str, code: int = 0, seconds: int = 0) -> str:
        """Run the script, `seconds` after it began; its output, both streams."""
        done = subprocess.run(
            [self.script, *options],
            cwd=self.path,
            env=self.environment | {"SECONDS": str(seconds)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    @property
    def calls(self) -> list[str]:
        """The commands that were called, in order."""
        path = self.path / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def in_order(words: Sequence[str], text: str) -> bool:
    place = 0
    for word in words:
        place = text.find(word, place)
        if place < 0:
            return False
    return True


def test_the_script_is_bash_and_may_be_run() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    assert os.access(SCRIPT, os.X_OK)


def test_a_dry_run_prints_every_step_of_the_pipeline_and_does_nothing(machine: Machine) -> None:
    output = machine.run("--dry-run", *STOP, "--experiment", "hair_robust", "--set", "segmenter.epochs=3")
    steps = (
        "+ apt-get update", "+ apt-get install", "+ nvidia-smi", "+ make setup", "+ dvc pull",
        "+ visage compose runtime=cuda experiment=hair_robust segmenter.epochs=3", "240m dvc repro evaluate_hair",
        "+ dvc repro export_hair", "+ tar -czf", "+ dvc push", "== stop the machine", "+ bash -c",
    )  # fmt: skip
    assert in_order(steps, output), output
    assert machine.calls == []
    assert not (machine.path / "results").exists()


def test_a_dry_run_of_the_notebooks_prints_those(machine: Machine) -> None:
    output = machine.run("--dry-run", "--mode", "notebooks", "--device", "cpu", "--data", "drawn")
    steps = (
        "+ visage compose runtime=cpu", "dvc repro extract_patches", "notebooks/04_finetune_hair.ipynb",
        "notebooks/05_seg_patch_from_features.ipynb", "notebooks/06_eval_export.ipynb", "+ tar -czf",
    )  # fmt: skip
    assert in_order(steps, output), output
    assert not [word for word in ("nvidia-smi", "dvc pull", "stop the machine") if word in output]
    for word in output.split():
        assert not word.startswith("notebooks/") or (ROOT / word).is_file()


def test_every_step_is_called_and_the_machine_is_stopped_at_the_end(machine: Machine) -> None:
    machine.run(*STOP, "--data", "drawn", "--out", "given")
    called = [call.split(" -")[0] for call in machine.calls]
    assert called == [
        "nvidia-smi ", "make setup PYTHON=python3.11", "visage compose runtime=cuda", "dvc repro evaluate_hair",
        "dvc repro export_hair", "tar", "dvc remote list", "stopped",
    ]  # fmt: skip
    assert (machine.path / "given").is_dir()


@pytest.mark.parametrize("failing", ["nvidia-smi", "make", "visage", "dvc", "tar"])
def test_the_machine_is_stopped_when_a_step_fails(machine: Machine, failing: str) -> None:
    machine.stub(failing, "exit 7")
    output = machine.run(*STOP, "--data", "drawn", code=7)
    assert machine.calls[-1] == "stopped"
    assert machine.calls[-2].startswith(failing)
    assert "ended with exit code 7" in output


def test_a_signal_ends_the_training_and_stops_the_machine(machine: Machine) -> None:
    machine.stub("dvc", 'echo $$ > "$HOME/training"; exec sleep 300')
    begun = subprocess.Popen([machine.script, *STOP, "--data", "drawn"], cwd=machine.path, env=machine.environment)
    while not (machine.path / "training").exists() or not (machine.path / "training").read_text(encoding="utf-8"):
        assert begun.poll() is None
        time.sleep(0.05)
    begun.terminate()
    assert begun.wait(timeout=60) == 130
    assert machine.calls[-1] == "stopped"
    with pytest.raises(ProcessLookupError):
        os.kill(int((machine.path / "training").read_text(encoding="utf-8")), 0)


def test_the_machine_is_kept_when_it_is_asked_for(machine: Machine) -> None:
    machine.stub("dvc", "exit 1")
    assert "the machine is kept" in machine.run(*STOP, "--keep", "--data", "drawn", code=1)
    assert "stopped" not in machine.calls


def test_a_stop_command_that_fails_is_said_and_hides_no_failure(machine: Machine) -> None:
    machine.stub("dvc", "exit 3")
    output = machine.run("--stop-command", "false", "--data", "drawn", code=3)
    assert "error: the stop command failed" in output


def test_data_are_pulled_where_a_remote_is_set_and_demanded_where_it_has_to_be(machine: Machine) -> None:
    assert "no DVC remote is set: the people are drawn" in machine.run()
    assert "error: --data pull: no DVC remote is set" in machine.run("--data", "pull", code=2)
    machine.stub("dvc", 'test "$1 $2" = "remote list" && echo store s3://bucket; true')
    machine.run()
    assert "dvc pull --allow-missing" in machine.calls
    assert machine.calls[-1] == "dvc push"


def test_a_folder_of_ones_own_becomes_the_hair_data(machine: Machine) -> None:
    (machine.path / "mine").mkdir()
    machine.run("--data", "mine", "--format", "celebamask")
    assert (machine.path / "data/raw/hair").resolve() == machine.path / "mine"
    assert "visage compose runtime=cuda hair/data=celebamask hair.data.root=data/raw/hair" in machine.calls
    assert (ROOT / "conf/hair/data/celebamask.yaml").is_file()


def test_a_folder_that_lies_where_the_pipeline_looks_is_taken_as_it_is_and_never_replaced(machine: Machine) -> None:
    (machine.path / "data/raw/hair").mkdir(parents=True)
    (machine.path / "mine").mkdir()
    machine.run("--data", "data/raw/hair")
    assert "data/raw/hair is there and is no link" in machine.run("--data", "mine", code=2)
    assert list((machine.path / "data/raw/hair").iterdir()) == []


def test_the_cost_is_estimated_before_and_counted_after(machine: Machine) -> None:
    priced = ("--price-per-hour", "0.80", "--data", "drawn")
    assert "at most 2.5 hours: 2.00 at 0.80 an hour" in machine.run(*priced, "--max-hours", "2.5", "--dry-run")
    output = machine.run(*priced, seconds=5400)
    assert "after 90 minutes: about 1.20 at 0.80 an hour" in output
    # Two and a half of the four hours are left.
    assert "timeout --kill-after=120 150m dvc repro" in output
    assert "an hour" not in machine.run("--data", "drawn")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mode", "all"], "error: --mode all: choose one of dag notebooks"),
        (["--device", "tpu"], "error: --device tpu: choose one of cuda cpu"),
        (["--format", "zip"], "error: --format zip: choose one of folder"),
        (["--data", "nowhere"], "error: --data nowhere: no such folder"),
        (["--price-per-hour", "cheap"], "error: --price-per-hour cheap: it must be a number"),
        (["--max-hours", "0"], "error: --max-hours 0: it must be above 0"),
        (["--set", "epochs"], "error: --set epochs: it must be KEY=VALUE"),
        (["--out"], "error: --out needs a value"),
        (["--frobnicate"], "error: no option --frobnicate"),
    ],
)
def test_a_mistaken_option_is_one_line_and_touches_nothing(machine: Machine, options: list[str], message: str) -> None:
    output = machine.run(*options, *STOP, code=2) if len(options) > 1 else machine.run(*STOP, *options, code=2)
    assert output.startswith(message)
    assert len(output.splitlines()) == 1
    assert machine.calls == []


def test_outside_of_a_clone_a_repository_is_needed_and_cloned(machine: Machine) -> None:
    (machine.path / "dvc.yaml").unlink()
    assert "give its address with --repository" in machine.run(code=2)
    machine.stub("git", f"mkdir -p {machine.path}/visage")
    machine.run("--repository", "https://example.org/visage.git", "--data", "drawn")
    assert machine.calls[1] == f"git clone --quiet https://example.org/visage.git {machine.path}/visage"


def test_the_help_names_every_option(machine: Machine) -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    output = machine.run("--help")
    for option in ("mode", "data", "format", "experiment", "set", "device", "repository", "directory", "out",
                   "price-per-hour", "max-hours", "stop-command", "keep", "dry-run"):  # fmt: skip
        assert f"--{option}" in output
        assert f"--{option}" in text.replace(output, "")
