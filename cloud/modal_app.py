"""Stages of the DAG on a GPU of Modal: modal run cloud/modal_app.py --stage train_pupil --gpu L4 --timeout 3600

The container gets the working tree and does what one does here: it composes params.yaml, for its device, and calls
`dvc repro`; a stage with variants runs all of them (train_pupil: train_pupil@tiny, train_pupil@micro). Data, artefacts,
DVC's cache and the finished jobs are volumes, so a second run goes on where the first one stopped. What git keeps of a
run comes back into the working tree, for `git diff`; the rest by `modal volume get visage-artifacts`. Volumes keep what
was written last: one run at a time.

Pictures of your own: modal volume put visage-data data/raw/faces raw/faces. Importing this file needs no account.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import modal

HERE = modal.is_local()
ROOT = Path(__file__).resolve().parents[1] if HERE else Path("/visage")
BIN = Path(sys.executable).parent if HERE else Path("/opt/venv/bin")
SEED = Path("/seed")  # what git holds of data/, which in the container is a volume and at first empty
APT = ("git", "libegl1", "libgles2", "make")
SET_UP = ("LICENSE", "Makefile", "README.md", "constraints.txt", "pyproject.toml", "src/visage/__init__.py")
KEPT = ("params.yaml", "dvc.lock", "metrics/*", "plots/**/*")  # by git
VOLUMES = {
    folder: modal.Volume.from_name(f"visage-{name}", create_if_missing=True)
    for folder, name in {"data": "data", "artifacts": "artifacts", ".dvc/cache": "cache", ".visage": "state"}.items()
}
# Without the exceptions in it, which are all in data/: with them Modal would match every file of .venv.
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in "#!"] if HERE else []
is_no_code = modal.FilePatternMatcher(*IGNORED, "data")


def is_no_seed(path: Path) -> bool:
    """Whether `path`, relative to data/, is anything but what git holds there."""
    return path.name != ".gitignore" and path.suffix != ".dvc"


image = modal.Image.debian_slim(python_version="3.11").apt_install(*APT)
for name in SET_UP:
    image = image.add_local_file(ROOT / name, f"/visage/{name}", copy=True)
image = (
    image.env({"VENV": "/opt/venv", "DVC_SYSTEM_CONFIG_DIR": "/etc/dvc"})
    .run_commands("make -C /visage setup", r"mkdir /etc/dvc && printf '[core]\nno_scm = true\n' > /etc/dvc/config")
    .add_local_dir(ROOT, "/visage", ignore=is_no_code)
    .add_local_dir(ROOT / "data", str(SEED), ignore=is_no_seed)
)
app = modal.App("visage")


@app.function(
    image=image,
    volumes={f"/visage/{folder}": volume for folder, volume in VOLUMES.items()},
    cpu=4.0,
    memory=8192,  # MiB; a stage holds less than 4 GB
)
def run_stage(stage: str, overrides: Sequence[str]) -> tuple[int, dict[str, bytes | None]]:
    """Compose params.yaml with `overrides`, and run `stage` with what it needs.

    Returns:
        The exit code, and the files that git keeps as they are now, of those that changed; None for one that is gone.
    """
    before = kept_files()
    if not HERE:
        shutil.copytree(SEED, ROOT / "data", dirs_exist_ok=True)
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": "src"}
    code = 0
    for command in (["visage", "compose", *overrides], ["dvc", "repro", stage]):
        code = code or subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    if not HERE:
        for volume in VOLUMES.values():
            volume.commit()
    after = kept_files()
    return code, {name: after.get(name) for name in before | after if before.get(name) != after.get(name)}


def kept_files() -> dict[str, bytes]:
    """What git keeps of a run, by the path from the root."""
    paths = [path for pattern in KEPT for path in sorted(ROOT.glob(pattern)) if path.is_file()]
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in paths}


def bring_back(files: dict[str, bytes | None]) -> None:
    """Make the working tree's `files` what the container's are."""
    for name, content in files.items():
        path = ROOT / name
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def check_stage(stage: str) -> None:
    """End with one line where dvc.yaml has no `stage`, before a machine is rented for it."""
    import yaml

    known = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    if stage.partition("@")[0] not in known:
        sys.exit(f"error: dvc.yaml has no stage {stage}: choose one of {', '.join(known)}")


@app.local_entrypoint()
def main(stage: str, gpu: str = "L4", timeout: int = 3600, overrides: str = "") -> None:
    """Run `stage` there and bring back what git keeps.

    gpu: Modal's name of it, such as T4, L4 or A100-80GB; none for a machine without. timeout: seconds, at most a day.
    overrides: as of dvc exp run -S, between spaces.
    """
    check_stage(stage)
    words = [*(() if gpu == "none" else ("runtime=cuda",)), *overrides.split()]
    configured = run_stage.with_options(gpu=None if gpu == "none" else gpu, timeout=timeout)
    code, files = configured.remote(stage, words)
    bring_back(files)
    print(f"{len(files)} files changed: git diff; models: modal volume get visage-artifacts / artifacts")
    if code:
        sys.exit(f"error: {stage} ended with exit code {code}: what is done stays in the volumes, its output is above")
