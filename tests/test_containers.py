"""Dockerfile, .dockerignore and compose.yaml against the repository; nothing here needs Docker."""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from itertools import chain, pairwise
from pathlib import Path

import pytest
import yaml

from closure import ROOT, dag

PHASES = ["preprocess", "train", "evaluate", "export"]
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
INSIDE = "/visage"


def tracked() -> set[str]:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return set(subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines())


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word.upper(), rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def build_stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Each build stage: what it starts from, and its own instructions."""
    stages: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for word, rest in instructions():
        if word == "FROM":
            source, _, name = rest.partition(" AS ")
            stages[name] = (source, [])
        else:
            stages[name][1].append((word, rest))
    return stages


def history(target: str) -> list[tuple[str, str]]:
    """All instructions that an image is made by, those of what it starts from first."""
    source, own = build_stages()[target]
    return [*(history(source) if source in build_stages() else []), *own]


def sources(rest: str) -> list[str]:
    """What a COPY takes from the repository."""
    words = [word for word in rest.split() if not word.startswith("--")]
    return [] if "--from=" in rest else words[:-1]


@pytest.mark.parametrize("name", ["compose.yaml", "compose.cuda.yaml"])
def test_compose_files_follow_the_specification(name: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_stage_belongs_to_exactly_one_phase() -> None:
    patterns = {name: SERVICES[name]["command"][3:] for name in PHASES}
    for name in PHASES:
        # Without --single-item: a service makes what its stages still need, and so works first as well as in its turn.
        assert SERVICES[name]["command"][:3] == ["dvc", "repro", "--glob"]
    for stage in dag():
        owners = [name for name in PHASES if any(fnmatch(stage, pattern) for pattern in patterns[name])]
        assert len(owners) == 1, f"{stage} is of {owners}: give its prefix to one service of compose.yaml"
    for pattern in chain(*patterns.values()):
        assert any(fnmatch(stage, pattern) for stage in dag()), f"no stage is like {pattern}"
    assert SERVICES["repro"]["command"] == ["dvc", "repro"]


def test_phases_wait_for_each_other_and_never_run_beside_the_whole() -> None:
    assert set(SERVICES) == {*PHASES, "repro"}
    for before, after in pairwise(PHASES):
        assert SERVICES[after]["depends_on"] == {before: {"condition": "service_completed_successfully"}}
    assert SERVICES["repro"]["profiles"]


def test_whatever_a_stage_writes_or_reads_of_yours_is_shared() -> None:
    written = {"dvc.lock", ".dvc/cache", ".dvc/tmp", ".visage/jobs", ".visage/state", "experiments/experiments.db"}
    for stage in dag().values():
        for entry in chain(*(stage.get(kind, []) for kind in ("outs", "metrics", "plots"))):
            written.add(entry if isinstance(entry, str) else next(iter(entry)))
    for service in SERVICES.values():
        shared = {}
        for volume in service["volumes"]:
            path = volume["source"].removeprefix("./")
            assert volume["target"] == f"{INSIDE}/{path}"
            # Docker would make a missing folder for root, where the services' user may not write.
            assert volume["bind"] == {"create_host_path": False}
            shared[Path(path)] = volume.get("read_only", False)
        assert shared.pop(Path("params.yaml")) is True
        assert not any(shared.values())
        for name in sorted(written):
            assert {Path(name), *Path(name).parents} & set(shared), f"{name} stays inside the container"


def test_the_gpu_is_asked_for_by_every_service() -> None:
    services = yaml.safe_load((ROOT / "compose.cuda.yaml").read_text(encoding="utf-8"))["services"]
    assert set(services) == set(SERVICES)
    for name, service in services.items():
        assert SERVICES[name]["build"] == {"context": ".", "target": "cpu", "args": {"TORCH_INDEX": None}}
        assert service["build"]["target"] == "cuda"
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_images_run_as_an_ordinary_user_in_the_shared_folder(target: str) -> None:
    last = dict(history(target))  # of each instruction
    assert last["USER"] not in ("root", "0")
    assert last["WORKDIR"] == INSIDE
    assert [rest for word, rest in history(target) if word == "COPY"][-1].startswith(f"--from=setup-{target} ")


def test_base_images_are_pinned_by_tag_and_digest() -> None:
    bases = {source for source, _ in build_stages().values() if source not in build_stages()}
    assert bases and all(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base) for base in bases)


@pytest.mark.parametrize("target", ["setup-cpu", "setup-cuda"])
def test_the_set_up_is_the_makefiles_and_has_all_it_needs(target: str) -> None:
    assert ("RUN", "make setup") in build_stages()[target][1]
    assert re.search(r"^setup:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    copied = {name for word, rest in history(target) if word == "COPY" for name in sources(rest)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert copied >= {"Makefile", "pyproject.toml", "constraints.txt", project["readme"], *project["license-files"]}
    assert "src/visage/__init__.py" in copied  # the version is in it
    assert "." not in copied, "an edit of the code would install everything again"


def test_what_is_copied_is_in_git() -> None:
    wanted = {name for word, rest in instructions() if word == "COPY" for name in sources(rest)} - {"."}
    assert wanted and wanted <= tracked()


def test_the_image_gets_what_git_holds_and_nothing_that_was_made() -> None:
    modal = pytest.importorskip("modal")
    ignored = modal.FilePatternMatcher.from_file(ROOT / ".dockerignore")
    assert not [name for name in sorted(tracked()) if ignored(Path(name))]
    made = {".git/HEAD", ".venv/bin/python", ".dvc/cache/files", ".dvc/tmp/lock", ".dvc/config.local", "report.html"}
    made |= {"src/visage/__pycache__/cli.pyc", "src/visage.egg-info/PKG-INFO", ".mypy_cache/x", "dvc_plots/index.html"}
    made |= {".visage/jobs/x", "experiments/experiments.db", "data/raw/faces/ada/1.jpg", "data/raw/weights/mine.pth"}
    for stage in dag().values():
        made |= {output for output in stage.get("outs", []) if output.startswith(("data/", "artifacts/"))}
    assert not [name for name in sorted(made) if not ignored(Path(name))]
