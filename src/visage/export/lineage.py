"""Lineage: which data and which parameters made a model, as hashes that fit into its card.

Only names given by the caller enter, never paths: the same data in another checkout has the same lineage.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visage.errors import DataError
from visage.io.atomic import sha256_bytes, sha256_file


def lineage(paths: Mapping[str, Path], params: Mapping[str, Any]) -> dict[str, Any]:
    """{"data": {name: SHA-256 of a file or a folder's tree}, "params": SHA-256 of the parameters as sorted JSON}.

    params: plain containers and numbers, as JSON has them.

    Raises:
        DataError: a path does not exist.
    """
    data = {name: _sha256_path(name, Path(path)) for name, path in sorted(paths.items())}
    return {"data": data, "params": sha256_bytes(json.dumps(params, sort_keys=True).encode())}


def sha256_tree(folder: Path) -> str:
    """The SHA-256 over the sorted relative paths of a folder's files and their contents; empty folders do not count."""
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    return sha256_bytes("".join(f"{sha256_file(path)}  {name}\n" for name, path in files).encode())


def _sha256_path(name: str, path: Path) -> str:
    if path.is_dir():
        return sha256_tree(path)
    if path.is_file():
        return sha256_file(path)
    raise DataError(f"lineage: {name} is to be hashed but {path} does not exist")
