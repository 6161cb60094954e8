"""The commands in the documents' bash blocks, and what can be said of one without running it."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from dvc.cli import parse_args
from dvc.utils.hydra import get_hydra_sweeps
from typer.main import get_command

from closure import ROOT, dag
from project import BIN
from visage.cli import app
from visage.compose import params_differ
from visage.config import load_config

BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.M | re.S)
ASSIGNMENT = re.compile(r"[A-Z_]+=")
# Shell commands without anything of ours in them.
PLAIN = ("cp", "export", "git", "mkdir", "source")


@dataclass(frozen=True)
class Command:
    """A line of a bash block of `document`, which is relative to the repository; its comment is left out."""

    document: str
    text: str

    def parts(self) -> list[list[str]]:
        """The words of each program that the line runs, without assignments in front."""
        lines: list[list[str]] = [[]]
        for word in shlex.split(self.text):
            if word == "&&":
                lines.append([])
            elif lines[-1] or not ASSIGNMENT.match(word):
                lines[-1].append(word)
        return lines


def documents() -> list[str]:
    """Every document, relative to the repository, in the order in which a stranger reads."""
    first = ["README.md", "docs/tutorial.md"]
    others = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return [*first, *(name for name in others if name not in first), "CONTRIBUTING.md"]


def commands() -> list[Command]:
    """Every line of every bash block of every document."""
    return [
        Command(document, re.sub(r"\s+# .*", "", line).strip())
        for document in documents()
        for block in BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]


def check(words: Sequence[str]) -> None:
    """Fail where a program would refuse `words` before it starts: an unknown command, flag, stage, parameter."""
    program, *rest = words
    if program == "visage":
        check_visage(rest)
    elif program == "dvc":
        check_dvc(rest)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        assert rest[0] in targets, f"make {rest[0]}: the Makefile has no such target"
    elif program == "accelerate":
        file = next(word for word in rest if word.endswith(".py"))
        assert (ROOT / file).is_file(), f"{file} is not there"
        load_config([word for word in rest[rest.index(file) + 1 :] if "=" in word], ROOT / "params.yaml")
    elif program == "docker":
        check_compose(rest)
    elif program == "modal" and rest[0] == "run":
        check_help(words, [program, *rest[:2]])
    elif program in ("mlflow", "modal"):
        check_help(words, [word for word in words if not word.startswith("-")][:2])
    elif program == "python":
        check_help(words, [sys.executable, rest[0]])
    elif program.startswith("scripts/"):
        check_help(words, [program])
    else:
        assert program in PLAIN, f"nothing is known of {program!r}: run it, or say here how it is checked"


def check_visage(arguments: Sequence[str]) -> None:
    """Parse `arguments` as the command would, and compose the parameters among them."""
    command: Any = get_command(app)
    rest = list(arguments)
    while getattr(command, "commands", None) and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    context = command.make_context(command.name, rest)
    load_config(context.params.get("overrides") or [], ROOT / "params.yaml")
    if command.name == "train":
        stages = {f"train_{context.params['stage']}", context.params["stage"]}
        assert stages & {path.stem for path in (ROOT / "stages").glob("*.py")}


def check_dvc(arguments: Sequence[str]) -> None:
    """Parse `arguments` as DVC would, compose what -S says, one experiment at a time, and find the stages it names."""
    given = parse_args(list(arguments))
    for overrides in get_hydra_sweeps({"params.yaml": list(getattr(given, "set_param", None) or [])}):
        params_differ(overrides["params.yaml"])
    if given.cmd in ("repro", "exp"):
        for target in getattr(given, "targets", None) or []:
            assert target in {name.split("@")[0] for name in dag()} | dag().keys(), f"no stage {target}"


def check_compose(arguments: Sequence[str]) -> None:
    """The files of `docker compose` are there, and have the service that is run; Docker itself need not be."""
    given = list(arguments)
    files = [given[index + 1] for index, word in enumerate(given) if word == "-f"] or ["compose.yaml"]
    assert given[0] == "compose" and "run" in given
    for file in files:
        assert given[-1] in yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["services"], given


def check_help(words: Sequence[str], command: Sequence[str]) -> None:
    """Every flag of `words` stands in the help that `command` prints."""
    path = f"{BIN}:{os.environ['PATH']}"
    done = subprocess.run(
        [*command, "--help"], cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True
    )
    flags = {word.split("=")[0] for word in words if word.startswith("--")}
    assert not {flag for flag in flags if flag not in done.stdout}, f"{shlex.join(words)}: unknown flags"
