"""Resume states and final checkpoints: written atomically, read with `weights_only=True`.

The resume state lives in `$DVC_ROOT/.visage/state/<stage>/<key>/`, because DVC deletes a stage's outputs before it reruns
it. The key is a hash of everything that decides the result, so that a changed parameter can never continue an old run.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from visage.errors import DataError
from visage.io.atomic import atomic_path


def state_dir(stage: str, identity: Mapping[str, Any]) -> Path:
    """The directory for the resume state of `stage` run with `identity`: parameters (dataclasses too) and hashes of data.

    The package's own code is part of the key: a run never continues under other code than it began with.
    """
    content = json.dumps([code_digest(), identity], sort_keys=True, default=asdict).encode()
    root = Path(os.environ.get("DVC_ROOT") or ".")
    return root / ".visage" / "state" / stage / hashlib.sha256(content).hexdigest()[:24]


def code_digest() -> str:
    """A hash over the package's source files."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers, strings, lists and dicts so that `load` can read them back safely."""
    with atomic_path(path) as tmp:
        torch.save(dict(state), tmp)


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


def forget(directory: Path) -> None:
    """Remove a resume state whose results are safe elsewhere."""
    shutil.rmtree(directory, ignore_errors=True)
