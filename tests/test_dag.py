"""dvc.yaml against the code: every stage depends on what it runs, and owns what it writes."""

import re
from pathlib import Path
from typing import Any

import pytest

from closure import ROOT, closure, dag

STAGES = dag()


def names(entries: list[Any]) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def code_dependencies(stage: dict[str, Any]) -> list[str]:
    return [name for name in names(stage.get("deps", [])) if name.endswith(".py")]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_exactly_the_code_it_runs(name: str) -> None:
    file = f"stages/{name.split('@')[0]}.py"
    wanted, given = closure(ROOT / file), code_dependencies(STAGES[name])
    assert sorted(given) == wanted, f"dvc.yaml, {name}: python tests/closure.py {file} prints the list"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_runs_its_file_and_says_what_it_does(name: str) -> None:
    stem, _, item = name.partition("@")
    assert re.fullmatch(rf"PYTHONPATH=src python stages/{stem}\.py( [\w.]+={item})?", STAGES[name]["cmd"])
    assert STAGES[name]["desc"]


def test_every_stage_file_is_in_the_dag() -> None:
    assert {path.stem for path in (ROOT / "stages").glob("*.py")} == {name.split("@")[0] for name in STAGES}


def test_no_output_is_shared_or_inside_another() -> None:
    owned = [
        (Path(output), name)
        for name, stage in STAGES.items()
        for kind in ("outs", "metrics", "plots")
        for output in names(stage.get(kind, []))
    ]
    for output, name in owned:
        for other, _ in owned:
            assert output == other or output not in other.parents, f"{name}: {other} lies inside {output}"
    assert len({output for output, _ in owned}) == len(owned)


@pytest.mark.parametrize("name", STAGES)
def test_outputs_lie_in_the_stages_own_folders(name: str) -> None:
    stage, name = STAGES[name], name.replace("@", "_")
    assert names(stage.get("metrics", [])) in ([], [f"metrics/{name}.json"])
    assert all(f"{plot}/".startswith(f"plots/{name}/") for plot in names(stage.get("plots", [])))
    for output in names(stage.get("outs", [])):
        assert output.startswith(("data/", "artifacts/models/")) or output.endswith(f"/{name}")
        assert "*" not in output


def test_metrics_and_plots_are_in_git_and_not_in_the_cache() -> None:
    for stage in STAGES.values():
        for entry in [*stage.get("metrics", []), *stage.get("plots", [])]:
            assert next(iter(entry.values()))["cache"] is False
