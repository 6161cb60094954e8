"""experiments.db: one row per run in SQLite; the schema and every query are in this file.

WAL mode and a connection per operation: queued experiments write at once, a reader never blocks them, and no handle
crosses a fork. The file is no output of DVC's and ignored by git, because its bytes differ at every run.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from visage.errors import VisageError
from visage.tracking.values import to_json

SCHEMA_VERSION = 1
BUSY_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stage TEXT NOT NULL,
    status TEXT NOT NULL,              -- running, finished, failed, unfinished, interrupted
    started TEXT NOT NULL,             -- UTC, ISO 8601
    seconds REAL NOT NULL DEFAULT 0,   -- up to the last word heard of the run
    experiment TEXT NOT NULL,          -- DVC_EXP_NAME, "" outside one
    revision TEXT NOT NULL,            -- git commit, "" without git
    dirty INTEGER NOT NULL,            -- 1 where code or configuration differ from it
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    boot TEXT NOT NULL,                -- with born: which process this pid was
    born INTEGER NOT NULL,
    device TEXT NOT NULL DEFAULT '',
    memory_mb REAL,
    gpu_memory_mb REAL,
    command TEXT NOT NULL,
    tags TEXT NOT NULL DEFAULT '{}',   -- JSON, as are the next two: flat, dotted names
    params TEXT NOT NULL DEFAULT '{}',
    metrics TEXT NOT NULL DEFAULT '{}'
) STRICT
"""

COLUMNS = (
    *("id", "stage", "status", "started", "seconds", "experiment", "revision", "dirty", "host", "pid", "boot"),
    *("born", "device", "memory_mb", "gpu_memory_mb", "command", "tags", "params", "metrics"),
)
JSON_COLUMNS = ("tags", "params", "metrics")


def database_path(root: Path) -> Path:
    """Where the table of the repository at `root` lies."""
    return root / "experiments" / "experiments.db"


def insert_run(path: Path, row: Mapping[str, Any]) -> int:
    """Add a run (column -> value, mappings in the JSON columns) and return its id; makes the database where missing.

    Raises sqlite3.Error or OSError where it cannot be written, VisageError where a newer visage wrote it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = _encode(row)
    names, marks = ", ".join(encoded), ", ".join("?" * len(encoded))
    with _connection(path) as connection:
        cursor = connection.execute(f"INSERT INTO runs ({names}) VALUES ({marks})", tuple(encoded.values()))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def update_run(path: Path, run_id: int, values: Mapping[str, Any]) -> None:
    """Change some columns of a run; raises what `insert_run` raises."""
    encoded = _encode(values)
    changes = ", ".join(f"{name} = ?" for name in encoded)
    with _connection(path) as connection:
        connection.execute(f"UPDATE runs SET {changes} WHERE id = ?", (*encoded.values(), run_id))


def read_runs(path: Path) -> list[dict[str, Any]]:
    """Every run in the order they started, JSON columns decoded and `dirty` a bool; [] where there is no database.

    Raises VisageError where the file is damaged, locked for longer than 5 s, or of a newer visage.
    """
    if not path.exists():
        return []
    try:
        with _connection(path) as connection:
            rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM runs ORDER BY id").fetchall()
    except sqlite3.Error as error:
        raise VisageError(f"{path}: cannot be read ({error}); move it away to start a new table") from error
    return [_decode(dict(zip(COLUMNS, row, strict=True))) for row in rows]


@contextmanager
def _connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA synchronous = NORMAL")
        if _version(connection) < SCHEMA_VERSION:
            _create(connection, path)
        if _version(connection) > SCHEMA_VERSION:
            raise VisageError(
                f"{path}: written by a newer visage (its schema is above {SCHEMA_VERSION}); update this one"
            )
        with connection:
            yield connection


def _create(connection: sqlite3.Connection, path: Path) -> None:
    # Going to WAL mode does not honour the busy timeout: of 8 first runs started together, one in 130 found the
    # database locked. So they queue here, on a lock of the folder, which ends with the process.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    finally:
        os.close(folder)


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _encode(row: Mapping[str, Any]) -> dict[str, Any]:
    assert set(row) <= set(COLUMNS), set(row) - set(COLUMNS)
    return {name: to_json(value) if name in JSON_COLUMNS else value for name, value in row.items()}


def _decode(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: json.loads(row[name]) for name in JSON_COLUMNS} | {"dirty": bool(row["dirty"])}
