"""The runs table: several writers at once, no damage, no surprise from another version."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from visage.errors import VisageError
from visage.tracking import database, machine

ROW: dict[str, Any] = {
    "stage": "s",
    "status": "running",
    "started": "2026-01-01T00:00:00+00:00",
    "experiment": "",
    "revision": "",
}
ROW |= {"dirty": False, "command": "", "params": {"lr": 0.1}, **machine.process_identity()}

WRITER = """
import sys, time
from pathlib import Path
from row import ROW
from visage.tracking import database
for turn in range(20):
    path = Path(sys.argv[1]) / str(turn) / "experiments.db"
    time.sleep(max(0.0, float(sys.argv[3]) + turn * 0.03 - time.time()))
    run_id = database.insert_run(path, ROW | {"stage": sys.argv[2]})
    database.update_run(path, run_id, {"status": "finished", "metrics": {"turn": turn}})
"""


def test_eight_first_runs_at_the_same_moment_all_find_their_row(tmp_path):
    (tmp_path / "row.py").write_text(f"ROW = {ROW!r}")
    environment = {"PYTHONPATH": f"{tmp_path}:{Path('src').resolve()}"}
    names, moment = [f"writer {i}" for i in range(8)], str(time.time() + 0.8)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), name, moment], env=environment, stderr=subprocess.PIPE
        )
        for name in names
    ]
    assert [writer.communicate(timeout=60)[1].decode() for writer in writers] == [""] * 8
    for turn in range(20):
        rows = database.read_runs(tmp_path / str(turn) / "experiments.db")
        assert sorted(row["stage"] for row in rows) == names
        assert len({row["id"] for row in rows}) == 8
        assert {(row["status"], row["metrics"]["turn"]) for row in rows} == {("finished", turn)}


def test_a_row_comes_back_as_it_went_in_and_the_file_is_in_wal_mode(tmp_path):
    path = tmp_path / "experiments.db"
    run_id = database.insert_run(path, ROW | {"metrics": {"loss": float("nan")}})
    (row,) = database.read_runs(path)
    assert row["id"] == run_id
    assert row["params"] == {"lr": 0.1}
    assert row["metrics"] == {"loss": None}
    assert row["dirty"] is False
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (database.SCHEMA_VERSION,)


def test_every_column_of_the_schema_is_read(tmp_path):
    database.insert_run(tmp_path / "x.db", ROW)
    with sqlite3.connect(tmp_path / "x.db") as connection:
        assert tuple(column[1] for column in connection.execute("PRAGMA table_info(runs)")) == database.COLUMNS


def test_reading_where_nothing_was_recorded_makes_no_file(tmp_path):
    assert database.read_runs(tmp_path / "experiments.db") == []
    assert not list(tmp_path.iterdir())


def test_a_database_of_a_newer_visage_is_refused_in_one_line(tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute(f"PRAGMA user_version = {database.SCHEMA_VERSION + 1}")
    with pytest.raises(VisageError, match="newer visage"):
        database.read_runs(tmp_path / "x.db")


def test_a_damaged_file_is_named_with_the_remedy(tmp_path):
    (tmp_path / "x.db").write_bytes(b"not a database, long enough to be looked at" * 50)
    with pytest.raises(VisageError, match=r"x\.db: cannot be read .* move it away"):
        database.read_runs(tmp_path / "x.db")
