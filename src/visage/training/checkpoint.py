"""Resume states and final checkpoints: written atomically, read with `weights_only=True`.

The resume state lives in `$DVC_ROOT/.visage/state/<stage>/<key>/`, because DVC deletes a stage's outputs before it
reruns it. The key is a hash of everything that decides the result, so that a changed parameter can never continue an
old run.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from visage.errors import DataError
from visage.io.atomic import sweep, write_bytes

NEUTRAL = ("cli.py", "compose.py", "config.py", "errors.py", "fit.py", "serving/", "tracking/")
FORGOTTEN_DAYS = 14


@contextmanager
def resumable(stage: str, identity: Mapping[str, Any]) -> Iterator[Path]:
    """The directory of `stage`'s resume state for `identity` (parameters, hashes of data), locked for this process.

    It is removed when the block ends well, so the block has to write the results; after an error or a kill it stays,
    and the same identity finds it again. A second process with the same identity (a queue may start one) waits. The
    package's code is part of the key: a run never continues under other code. States untouched for two weeks are
    removed.
    """
    directory = state_dir(stage, identity)
    directory.mkdir(parents=True, exist_ok=True)
    if os.environ.get("RANK", "0") != "0":
        # Another process of this launch holds the lock and cleans up.
        yield directory
        return
    with open(directory.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{stage}: another process trains the same; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        directory.mkdir(parents=True, exist_ok=True)
        sweep(directory)
        _prune(directory.parent)
        yield directory
        shutil.rmtree(directory, ignore_errors=True)


def state_dir(stage: str, identity: Mapping[str, Any]) -> Path:
    """Where the resume state of `stage` for `identity` (JSON-able; dataclasses too) is kept."""
    content = json.dumps([code_digest(), identity], sort_keys=True, default=asdict).encode()
    root = Path(os.environ.get("DVC_ROOT") or ".")
    return root / ".visage" / "state" / stage / hashlib.sha256(content).hexdigest()[:24]


def code_digest() -> str:
    """A hash over the package's source files, less those that change no result."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        if not name.startswith(NEUTRAL):
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _prune(directory: Path) -> None:
    """Remove the states in `directory` that nobody has touched for `FORGOTTEN_DAYS` and nobody holds."""
    for lock_path in directory.glob("*.lock"):
        if time.time() - lock_path.stat().st_mtime < FORGOTTEN_DAYS * 86_400:
            continue
        with open(lock_path) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(lock_path.with_suffix(""), ignore_errors=True)
            lock_path.unlink(missing_ok=True)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers, strings, lists and dicts so that `load` can read them back safely."""
    # Through memory: torch names the archive's folder after the file, and a temporary name would change the bytes.
    buffer = io.BytesIO()
    torch.save(_canonical(state), buffer)
    write_bytes(path, buffer.getvalue())


def _canonical(value: Any) -> Any:
    """`value` with fresh containers and one object for equal strings.

    Pickle writes a reference where it meets an object again, so a state that was loaded (a resumed run's) and one that
    was never saved would be equal and yet other bytes.
    """
    if isinstance(value, Mapping):
        return {_canonical(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    if isinstance(value, str):
        return sys.intern(str(value))
    return value


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, on the CPU, executing nothing that the file contains.

    Raises:
        DataError: the file is truncated, or holds more than tensors and plain values.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken archive, none of them documented
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a checkpoint that can be loaded safely ({reason[:120]}): make it again") from None
