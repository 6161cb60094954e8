"""`visage runs`: filters and sorting mean what they say, mistakes are named, the output is readable or parseable."""

import json
import subprocess
import sys

import pytest

from visage.errors import VisageError
from visage.tracking import database, machine, runs
from visage.tracking.runs import parse_filter, select


def _row(run_id, stage="finetune_faces", status="finished", params=None, metrics=None):
    return {
        "id": run_id,
        "stage": stage,
        "status": status,
        "started": f"2026-01-0{run_id}T10:00:00+00:00",
        "seconds": 12.0,
        "experiment": "",
        "revision": "a" * 40,
        "dirty": run_id == 2,
        "command": "stages/x.py smoke",
        "device": "cpu",
        "memory_mb": 100.0,
        "gpu_memory_mb": None,
        "tags": {},
        "params": params or {},
        "metrics": metrics or {},
        **machine.process_identity(),
    }


ROWS = [
    _row(1, params={"faces.lr": 0.1}, metrics={"accuracy": 0.7, "accuracy.best": 0.75}),
    _row(2, params={"faces.lr": 0.01}, metrics={"accuracy": 0.9}),
    _row(3, stage="train_texture", params={"faces.lr": None}, metrics={"psnr": 25.0}),
    _row(4, status="failed", metrics={"accuracy": None}),
]


def _ids(rows):
    return [row["id"] for row in rows]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (["accuracy>=0.9"], [2]),
        (["accuracy > 0.5", "faces.lr=0.1"], [1]),
        (["accuracy.best<1"], [1]),
        (["stage=train_texture"], [3]),
        (["stage==train_texture"], [3]),
        (["stage!=train_texture"], [1, 2, 4]),
        (["stage~TEXTURE"], [3]),
        (["status=failed"], [4]),
        (["accuracy!=0.9"], [1]),
        (["started>=2026-01-03"], [3, 4]),
        (["params.faces.lr<=0.01"], [2]),
        (["metrics.psnr=25"], [3]),
        (["dirty=true"], [2]),
        (["command~smoke"], [1, 2, 3, 4]),
        (["id>2", "id<4"], [3]),
    ],
)
def test_filters_compare_numbers_as_numbers_and_rows_without_the_key_never_match(where, ids):
    assert _ids(select(ROWS, where)) == ids


@pytest.mark.parametrize(
    ("sort", "ids"),
    [("accuracy", [1, 2, 3, 4]), ("-accuracy", [2, 1, 3, 4]), ("-id", [4, 3, 2, 1]), ("stage", [1, 2, 4, 3])],
)
def test_sorting_puts_rows_without_the_key_last_in_both_directions(sort, ids):
    assert _ids(select(ROWS, sort=sort)) == ids
    assert _ids(select(ROWS, sort=sort, limit=2)) == ids[:2]


def test_selecting_changes_nothing():
    before = json.dumps(ROWS)
    select(ROWS, ["accuracy>0"], "-accuracy", 1)
    assert json.dumps(ROWS) == before


@pytest.mark.parametrize("text", ["accuracy", "accuracy>=", "", ">=0.8", "a b=1"])
def test_a_filter_that_cannot_be_read_is_shown_with_the_form_expected(text):
    with pytest.raises(VisageError, match="KEY OPERATOR VALUE"):
        parse_filter(text)


@pytest.mark.parametrize(
    ("key", "nearest"), [("acuracy", "accuracy"), ("lr", "faces.lr"), ("stag", "stage"), ("params.lr", "faces.lr")]
)
def test_an_unknown_key_is_refused_with_the_nearest_one(key, nearest):
    with pytest.raises(VisageError, match=f"nearest is '{nearest}'"):
        select(ROWS, [f"{key}=1"])
    with pytest.raises(VisageError, match=f"nearest is '{nearest}'"):
        select(ROWS, sort=f"-{key}")


@pytest.fixture
def recorded(project):
    for row in ROWS:
        database.insert_run(database.database_path(project), {name: row[name] for name in row if name != "id"})
    return project


@pytest.mark.usefixtures("recorded")
def test_json_output_is_one_json_list_and_nothing_else(capsys):
    runs.list_runs(["stage=finetune_faces"], sort="-accuracy", as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert _ids(rows) == [2, 1, 4]
    assert rows[0]["params"] == {"faces.lr": 0.01}
    assert rows[0]["dirty"] is True


def test_the_table_holds_in_80_columns_with_what_was_asked_for(recorded, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    long = ROWS[0] | {
        "stage": "train_hair_segmenter_with_a_long_name",
        "params": {"faces.heads.lr": 1e-3},
        "seconds": 7300.0,
    }
    database.insert_run(database.database_path(recorded), {name: long[name] for name in long if name != "id"})
    runs.list_runs(["faces.lr>0"])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "faces.lr 0.01" in shown
    assert "accuracy" not in shown
    runs.list_runs()
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "accuracy 0.9" in shown
    assert "2h01m" in shown
    assert "…" not in shown


@pytest.mark.usefixtures("project")
def test_an_empty_table_says_what_fills_it_and_is_an_empty_list_in_json(capsys):
    runs.list_runs(["accuracy>1"])
    assert "dvc repro" in capsys.readouterr().out
    runs.list_runs(as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_the_modules_the_command_line_imports_pull_in_nothing_heavy():
    program = (
        "import sys, visage.tracking.runs, visage.tracking.tracker, visage.tracking.report\n"
        "print([n for n in ('mlflow', 'dvclive', 'dvc', 'vl_convert', 'rich', 'torch', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
