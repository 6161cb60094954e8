"""`visage metrics`: the metrics of every stage as one narrow table, what `make repro` ends with.

`dvc metrics show` has a column for every number of every stage, which no terminal is wide enough for; here each number
is a line, and tables with a row for each class are left to the report and to the files.
"""

import json
from pathlib import Path

from visage.errors import VisageError
from visage.tracking.values import flatten


def metric_rows(root: Path) -> list[tuple[str, str, str]]:
    """(stage, name, value) of every number in metrics/*.json, groups called per_... left out.

    Raises:
        VisageError: nothing has been measured yet.
    """
    rows = []
    for path in sorted((root / "metrics").glob("*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        short = {name: value for name, value in values.items() if not name.startswith("per_")}
        rows += [
            (path.stem, name, f"{value:,}" if isinstance(value, int) else str(value))
            for name, value in flatten(short).items()
        ]
    if not rows:
        raise VisageError(f"{root / 'metrics'}: nothing has been measured yet; run `make repro` first")
    return rows


def print_metrics(root: Path) -> None:
    """Print `metric_rows` as a table, the stage named once."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("stage", "metric", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("value", justify="right")
    named = ""
    for stage, name, value in metric_rows(root):
        if named and stage != named:
            table.add_section()
        table.add_row("" if stage == named else stage, name, value)
        named = stage
    Console().print(table)
