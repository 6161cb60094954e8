"""Resume states and final checkpoints: written atomically, read with `weights_only=True`.

The resume state lives in `$DVC_ROOT/.visage/state/<stage>/<key>/`, because DVC deletes a stage's outputs before it
reruns it. The key is a hash of everything that decides the result, so that a changed parameter can never continue an
old run.
"""

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from visage.errors import DataError
from visage.io.atomic import write_bytes


def state_dir(stage: str, identity: Mapping[str, Any]) -> Path:
    """The directory for the resume state of `stage`; `identity` is its parameters and the hashes of its data.

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


def forget(directory: Path) -> None:
    """Remove a resume state whose results are safe elsewhere."""
    shutil.rmtree(directory, ignore_errors=True)
