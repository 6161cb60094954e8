"""A copy of the repository in which a test runs stages and commands as a user does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from closure import ROOT

BIN = Path(sys.executable).parent
SMALLEST = ("experiment=smoke",)


class Project:
    """A copy of the repository with its own git history and its own empty cache."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": "src"}
        # What the surrounding repository tells its processes must not reach the copy's.
        for name in ("DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "GIT_DIR", "VISAGE_OUTPUT_DIR"):
            self.environment.pop(name, None)

    def run(self, *command: str, code: int | None = 0) -> str:
        """Run `command`; its output, both streams."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert code is None or done.returncode == code, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout

    def metrics(self, stage: str) -> dict[str, object]:
        return json.loads((self.path / f"metrics/{stage}.json").read_text(encoding="utf-8"))

    def copy(self, path: Path) -> "Project":
        """Another project, at `path`, as this one is now."""
        shutil.copytree(self.path, path, symlinks=True)
        return Project(path)

    def restore(self) -> None:
        """Back to what is committed."""
        self.run("git", "checkout", "--quiet", ".")
        self.run("dvc", "checkout", "--quiet")

    def ran(self, output: str) -> set[str]:
        """The stages that `output` of dvc says were run."""
        return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")}


def make_project(path: Path) -> Project:
    """A copy in `path` at its smallest, every stage run and committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    project = Project(path)
    for command in (
        ["git", "init", "--quiet", "--initial-branch=main"],
        ["git", "config", "user.email", "test@example.org"],
        ["git", "config", "user.name", "Test"],
        ["visage", "compose", *SMALLEST],
        ["dvc", "repro"],
        ["git", "add", "--all"],
        ["git", "commit", "--quiet", "-m", "smoke"],
    ):
        project.run(*command)
    return project
