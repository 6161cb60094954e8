"""Atomic files: whoever reads a path sees the whole old content or the whole new one, never a part.

Every file that another process reads is written to a temporary name in the same directory, flushed to the disk and
renamed. The temporary name carries the process id, because two workers once collided on a shared one.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TMP_MARK = ".tmp-"


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in `path`'s directory; on a clean exit it is flushed and becomes `path`.

    The directory is made where it is missing. On an exception the temporary file is removed and `path` is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f".{path.name}{TMP_MARK}{os.getpid()}{path.suffix}")
    try:
        yield tmp
        with open(tmp, "rb") as file:
            os.fsync(file.fileno())
        os.replace(tmp, path)
    finally:
        tmp.unlink(missing_ok=True)


def write_bytes(path: Path | str, content: bytes) -> Path:
    """Write `content` atomically and return the path."""
    with atomic_path(path) as tmp:
        tmp.write_bytes(content)
    return Path(path)


def write_text(path: Path | str, content: str) -> Path:
    """Write UTF-8 text atomically and return the path."""
    return write_bytes(path, content.encode())


def write_json(path: Path | str, value: Any) -> Path:
    """Write indented JSON with sorted keys; NaN and infinity are refused because JSON has no such numbers."""
    return write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path | str, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write one JSON object with sorted keys a line."""
    lines = (json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    return write_text(path, "".join(lines))


def write_csv(path: Path | str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Path:
    """Write a CSV with a header and "\\n" line ends; every row must have exactly `columns`."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_text(path, buffer.getvalue())


def read_jsonl(path: Path | str) -> list[dict[str, Any]]:
    """Read what `write_jsonl` wrote."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def sha256_bytes(content: bytes) -> str:
    """The SHA-256 of `content`, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path | str) -> str:
    """The SHA-256 of a file's content, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep(directory: Path | str) -> int:
    """Remove temporary files that killed processes left under `directory`; returns how many."""
    orphans = [path for path in Path(directory).rglob(f".*{TMP_MARK}*") if path.is_file()]
    for path in orphans:
        path.unlink(missing_ok=True)
    return len(orphans)
