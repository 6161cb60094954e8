"""`make report`: one offline page with the metrics, every plot and picture, the models, the parameters and the costs.

It shows what is on the disk now; nothing is run and nothing is fetched. A plot that cannot be drawn becomes a line of
the page, because a report that fails over one picture is the report nobody has.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from visage.errors import VisageError
from visage.io.atomic import write_text
from visage.tracking import page
from visage.tracking.machine import git_state
from visage.tracking.page import Markup
from visage.tracking.plots import Figure, collect_figures
from visage.tracking.runs import load_runs
from visage.tracking.values import flatten

LONG = 14  # rows; a longer group of metrics is folded


def build_report(root: Path, out: Path) -> Path:
    """Write the report on the repository at `root` to the file `out` and return it.

    Raises VisageError where there are no metrics yet, where a metrics file is damaged, or where DVC cannot be asked.
    """
    root = Path(root)
    files = sorted((root / "metrics").glob("*.json"))
    if not files:
        raise VisageError(f"{root / 'metrics'}: nothing has been measured yet; run `make repro` first")
    figures, faults = collect_figures(root)
    sections = {
        "Metrics": page.columns(page.card(path.stem, _metrics(_read(path))) for path in files),
        **_plots(figures),
        "Models": page.columns(_model(path) for path in sorted((root / "artifacts" / "models").glob("*/model.json"))),
        "Time and memory": _costs(load_runs(root)),
        "Parameters": _parameters(root / "params.yaml"),
        "Not drawn": Markup(
            f"<ul>{page.join(Markup(f'<li>{page.text(fault)}</li>') for fault in faults)}</ul>" * bool(faults)
        ),
    }
    revision, dirty = git_state(root)
    state = f"Revision {revision[:10]}{', with uncommitted changes' * dirty}" if revision else "Outside of git"
    subtitle = f"{state}. Made {datetime.now(UTC):%d %B %Y, %H:%M} UTC."
    filled = {name: body for name, body in sections.items() if "<t" in body or "<fig" in body or "<li" in body}
    footer = "Made by `make report` from what is on the disk; this file needs no network."
    return write_text(out, page.page("visage report", subtitle, filled, footer))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise VisageError(f"{path}: is not JSON ({error}); run the stage that writes it again") from error


def _metrics(tree: Mapping[str, Any]) -> Markup:
    """Short things in one table; tables per class, and long groups, folded below it."""
    short: dict[str, Any] = {}
    below: list[Markup] = []
    for name, value in tree.items():
        flat = flatten(value, name)
        if isinstance(value, Mapping) and len(value) > 2 and all(isinstance(row, Mapping) for row in value.values()):
            below.append(page.folded(f"{name} ({len(value)} rows)", _matrix(name, value)))
        elif len(flat) > LONG:
            below.append(page.folded(f"{name} ({len(flat)} values)", page.pairs(flat)))
        else:
            short |= flat
    return page.join([page.pairs(short) if short else Markup(""), *below])


def _matrix(name: str, rows: Mapping[str, Mapping[str, Any]]) -> Markup:
    flat = {key: flatten(row) for key, row in rows.items()}
    columns = list(dict.fromkeys(column for row in flat.values() for column in row))
    return page.table(
        [name, *columns], [[key, *(row.get(column, "") for column in columns)] for key, row in flat.items()]
    )


def _plots(figures: Sequence[Figure]) -> dict[str, Markup]:
    """One section for the overlays, then one for each stage, in the order of dvc.yaml."""
    groups: dict[str, list[Markup]] = {"": []}
    for one in figures:
        groups.setdefault(one.group, []).append(page.figure(one.title, Markup(one.html)))
    return {f"Plots: {group or 'overview'}": page.cards(boxes) for group, boxes in groups.items()}


def _model(path: Path) -> Markup:
    described = flatten(_read(path))
    files = {file.name: f"{file.stat().st_size / 1000:,.0f} kB" for file in sorted(path.parent.glob("model.*"))}
    shown = {
        name: value for name, value in described.items() if name in ("version", "model_version") or "metrics" in name
    }
    rest = {name: value for name, value in described.items() if name not in shown}
    return page.card(path.parent.name, page.pairs(shown | files), page.folded(f"{len(rest)} more", page.pairs(rest)))


def _costs(runs: Sequence[Mapping[str, Any]]) -> Markup:
    """The last finished run of every stage, from experiments.db: what it took on which machine."""
    last = {row["stage"]: row for row in runs if row["status"] == "finished"}
    columns = ("stage", "seconds", "memory, MB", "accelerator memory, MB", "device", "finished run of")
    rows = (
        [name, row["seconds"], row["memory_mb"] or "", row["gpu_memory_mb"] or "", row["device"], row["started"][:10]]
        for name, row in last.items()
    )
    return page.table(columns, rows) if last else Markup("")


def _parameters(path: Path) -> Markup:
    """Top-level values in the open, since they reach everything; each section folded."""
    import yaml

    tree = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    top = {name: value for name, value in (tree or {}).items() if not isinstance(value, Mapping)}
    sections = {name: flatten(value) for name, value in (tree or {}).items() if isinstance(value, Mapping)}
    folds = [page.folded(f"{name} ({len(flat)})", page.pairs(flat)) for name, flat in sections.items()]
    box = page.card("params.yaml", page.pairs(top) if top else Markup(""), *folds)
    return page.columns([box]) if tree else Markup("")
