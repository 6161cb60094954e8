"""`visage runs`: the runs table filtered, sorted and shown, as a table of 80 columns or as JSON.

A key is a column, else a metric, else a parameter, in this order; `metrics.x` and `params.x` say it exactly. Nothing is
written here: a run whose process is gone is shown as "killed", its row stays as the process left it.
"""

import difflib
import json
import operator
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visage.errors import VisageError
from visage.tracking import machine
from visage.tracking.database import COLUMNS, database_path, read_runs

_MISSING = object()
_FILTER = re.compile(r"\s*([^\s=!<>~]+)\s*(!=|<=|>=|==?|<|>|~)\s*(.*?)\s*")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_HEADLINES = ("accuracy", "iou", "psnr", "lpips", "f1", "auc", "error", "loss")


@dataclass(frozen=True)
class Filter:
    """One condition of `--where`: `key operator value`, for example `accuracy>=0.8` or `command~smoke`."""

    key: str
    sign: str
    value: str

    def accepts(self, row: dict[str, Any]) -> bool:
        """Whether `row` has the key and meets the condition; numbers as numbers, anything else as text."""
        found = value_of(row, self.key)
        if found is _MISSING or found is None:
            return False
        if self.sign == "~":
            return self.value.lower() in _text(found).lower()
        try:
            return _OPERATORS[self.sign](float(found), float(self.value))
        except (TypeError, ValueError):
            return _OPERATORS[self.sign](_text(found), self.value)


def parse_filter(text: str) -> Filter:
    """A `Filter` from its text; raises VisageError where it has no operator or no value."""
    match = _FILTER.fullmatch(text)
    if match is None or not match[3]:
        raise VisageError(f"--where {text!r}: expected KEY OPERATOR VALUE with one of = != < <= > >= ~ (contains)")
    return Filter(match[1], match[2], match[3])


def select(
    rows: Sequence[dict[str, Any]], where: Sequence[str] = (), sort: str = "", limit: int = 0
) -> list[dict[str, Any]]:
    """The rows that meet every filter, sorted by a key ("-key": falling; without it: last), at most `limit` (0: all).

    Raises VisageError for a filter that cannot be read, and for a key no run has, naming the nearest one.
    """
    filters = [parse_filter(text) for text in where]
    key = sort.removeprefix("-")
    for name in [*(one.key for one in filters), *([key] if key else [])]:
        _check_key(name, rows)
    chosen = [row for row in rows if all(one.accepts(row) for one in filters)]
    if key:
        having = [row for row in chosen if value_of(row, key) not in (_MISSING, None)]
        having.sort(key=lambda row: _order(value_of(row, key)), reverse=sort.startswith("-"))
        chosen = having + [row for row in chosen if value_of(row, key) in (_MISSING, None)]
    return chosen[:limit] if limit else chosen


def load_runs(root: Path | None = None) -> list[dict[str, Any]]:
    """Every run of the repository at `root` (default: this one), "running" made "killed" where the process is gone."""
    rows = read_runs(database_path(root or machine.repository_root()))
    killed = [row for row in rows if row["status"] == "running" and not machine.is_alive(row)]
    for row in killed:
        row["status"] = "killed"
    return rows


def list_runs(where: Sequence[str] = (), sort: str = "-id", limit: int = 20, as_json: bool = False) -> None:
    """Print the selected runs on stdout: a JSON list and nothing else, or a table. Raises what `select` raises."""
    rows = select(load_runs(), where, sort, limit)
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    else:
        print_table(rows, [*(parse_filter(text).key for text in where), sort.removeprefix("-")])


def print_table(rows: Sequence[dict[str, Any]], asked: Iterable[str] = ()) -> None:
    """Print `rows` as a table; the last column holds what was `asked` for, or else the headline metrics."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title, justify in (
        ("id", "right"),
        ("stage", "left"),
        ("status", "left"),
        ("started", "left"),
        ("took", "right"),
    ):
        table.add_column(title, justify=justify, no_wrap=title != "stage", overflow="fold")  # type: ignore[arg-type]
    table.add_column("results", overflow="fold")
    colours = {"finished": "green", "running": "cyan", "failed": "red", "killed": "red"}
    extra = [name for name in dict.fromkeys(asked) if name and name not in COLUMNS]
    for row in rows:
        status = Text(row["status"], style=colours.get(row["status"], "yellow"))
        when = row["started"][5:16].replace("T", " ")
        table.add_row(
            str(row["id"]), Text(row["stage"]), status, when, _took(row["seconds"]), Text(_results(row, extra))
        )
    console = Console(highlight=False)
    console.print(table if rows else "No runs here yet: `dvc repro` or any stage adds one (times are UTC).")


def value_of(row: dict[str, Any], key: str) -> Any:
    """The value of a column, metric or parameter in `row`; `_MISSING` where it has none."""
    for kind in ("metrics", "params", "tags"):
        if key.startswith(f"{kind}."):
            return row[kind].get(key.removeprefix(f"{kind}."), _MISSING)
    if key in row:
        return row[key]
    return row["metrics"].get(key, row["params"].get(key, _MISSING))


def _check_key(key: str, rows: Sequence[dict[str, Any]]) -> None:
    if not rows or any(value_of(row, key) is not _MISSING for row in rows):
        return
    known = sorted({*COLUMNS, *(name for row in rows for kind in ("metrics", "params") for name in row[kind])})
    key = key.removeprefix("metrics.").removeprefix("params.")
    inside = [name for name in known if key.lower() in name.lower()]
    nearest = (difflib.get_close_matches(key, known, n=1) or inside or ["stage"])[0]
    raise VisageError(f"no run has a column, metric or parameter {key!r}; the nearest is {nearest!r}")


def _order(value: Any) -> tuple[int, Any]:
    return (0, float(value)) if isinstance(value, (int, float)) else (1, _text(value))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _took(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 100 else f"{minutes // 60}h{minutes % 60:02d}m"


def _results(row: dict[str, Any], asked: Sequence[str]) -> str:
    names = [name for name in asked if value_of(row, name) is not _MISSING] or _headlines(row["metrics"])
    return "\n".join(f"{name} {_short(value_of(row, name))}" for name in names)


def _headlines(metrics: dict[str, Any]) -> list[str]:
    def rank(name: str) -> tuple[int, bool, int]:
        return next(i for i, word in enumerate(_HEADLINES) if word in name), name.startswith("train"), len(name)

    named = [name for name in metrics if any(word in name for word in _HEADLINES) and not name.endswith(".best")]
    return sorted(named, key=rank)[:2]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _text(value)
