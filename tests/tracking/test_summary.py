"""The metrics table: every number a line, tables for each class left out."""

from pathlib import Path

import pytest

from visage.errors import VisageError
from visage.io.atomic import write_json
from visage.tracking.summary import metric_rows, print_metrics


def test_every_number_is_a_line_without_class_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(tmp_path / "metrics/a.json", {"best": {"accuracy": 0.5}, "samples": 1200, "per_class": {"x": {"f1": 1}}})
    write_json(tmp_path / "metrics/b.json", {"lpips": "not measured"})
    assert metric_rows(tmp_path) == [
        ("a", "best.accuracy", "0.5"), ("a", "samples", "1,200"), ("b", "lpips", "not measured"),
    ]  # fmt: skip
    print_metrics(tmp_path)
    assert "not measured" in capsys.readouterr().out


def test_nothing_measured_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(VisageError, match="make repro"):
        metric_rows(tmp_path)
