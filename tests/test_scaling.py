"""Scaling: the document's tables are what the measurements give, and the simulation drives the real queue."""

import importlib.util
import json
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from closure import ROOT
from visage.jobs import queue
from visage.jobs.worker import Worker

SIZES = (100_000, 100_000_000)


def load(name: str) -> ModuleType:
    """benchmarks/`name`.py."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


estimate, scaling = load("estimate"), load("scaling")


@pytest.fixture
def known() -> object:
    return estimate.measured((ROOT / "benchmarks/README.md").read_text(encoding="utf-8"))


def test_the_documents_tables_follow_from_the_measurements(known: object) -> None:
    dim = json.loads((ROOT / "metrics/extract_features.json").read_text(encoding="utf-8"))["dim"]
    text = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    assert estimate.tables(SIZES, known, dim) in text, "paste what python benchmarks/estimate.py prints"


def test_the_documents_limit_of_one_queue_is_the_benchmarks() -> None:
    measured = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8").partition("## `scaling.py`")[2]
    table = measured.split("```")[1]
    rates = [int(rate) for rate in re.findall(r"^ +\d+ +\d+ +(\d+) +\d+% ", table, re.M)]
    assert rates == sorted(rates) and len(rates) >= 5
    assert f"about {round(rates[-1], -3):,} images/s" in (ROOT / "docs/scaling.md").read_text(encoding="utf-8")


def test_the_estimates_constants_are_the_pipelines() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert params["features"]["images_per_job"] == estimate.IMAGES_PER_JOB
    prepared = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]["prepare_faces"]["outs"][0]
    assert prepared["path"] == "data/processed/faces"
    assert prepared["size"] / prepared["nfiles"] / 1000 == pytest.approx(estimate.PICTURE_KB, rel=0.2)


def test_hours_and_bytes_follow_the_formulas(known: object) -> None:
    rate = estimate.Rate("work", 100.0)
    assert rate.core_hours(64_000, 0.0) == pytest.approx(64_000 / 100 / 3600)
    assert rate.core_hours(64_000, 3.6) - rate.core_hours(64_000, 0.0) == pytest.approx(1.0)
    assert [estimate.jobs(count) for count in (1, 64, 65)] == [1, 1, 2]
    text = estimate.tables((1_000, 1_000_000), known, 1024)
    assert "| 16 | 15,625 |" in text and "| 0.00 GB | 4.10 GB |" in text


def test_a_rate_that_is_not_measured_is_named() -> None:
    with pytest.raises(ValueError, match="mobilenetv3_small_100.*found 0 times"):
        estimate.measured("nothing")


def options(**changes: object) -> Namespace:
    return Namespace(**{**vars(scaling.parse([])), "width": 4, "rate": 64.0, "clock": "processor", **changes})


@pytest.mark.parametrize("engine", ["dask", "local"])
def test_virtual_workers_do_every_job_of_the_real_queue_once(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "LEAST_JOBS", 12)
    done: list[int] = []
    perform: Callable[..., bool] = Worker.perform

    def watched(self: Worker, job: object, *others: object) -> bool:
        fresh = self.store.record(job.digest) is None  # type: ignore[attr-defined]
        finished = perform(self, job, *others)
        done.extend([job.index] if fresh and finished else [])  # type: ignore[attr-defined]
        return finished

    monkeypatch.setattr(scaling.Worker, "perform", watched)
    row = scaling.simulate(4, 2, options(engine=engine))
    assert sorted(done) == list(range(12)) and row.jobs == 12
    # 12 jobs of two images by four workers: three rounds of 1/32 s, give or take a fifth.
    assert 3 * 0.8 / 32 <= row.seconds[1] <= 3 * 1.2 / 32 + 2
    assert 0 < row.shares["computing"] < 1 and all(0 <= share <= 1.01 for share in row.shares.values())


def test_a_scheduler_that_hands_out_slowly_is_what_the_workers_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "LEAST_JOBS", 8)
    row = scaling.simulate(4, 1, options(rate=1e6, dispatch=1.0))
    assert row.seconds[1] >= 8 and row.shares["hand-out"] > 0.5


def test_a_failure_in_a_virtual_worker_ends_the_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Worker, job: object) -> bool:
        raise OSError("no disk")

    monkeypatch.setattr(scaling, "LEAST_JOBS", 2)
    monkeypatch.setattr(scaling.Worker, "perform", fail)
    with pytest.raises(OSError, match="no disk"):
        scaling.simulate(1, 1, options())


def test_steps_are_measured_on_the_real_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "COSTS_JOBS", 3)
    spent = scaling.costs(2, options())
    assert set(spent) == {*scaling.STEPS, "bytes"}
    assert spent["perform"] > spent["is it done"] > 0 and spent["bytes"] > 2 * 64
    assert scaling.run_queue is queue.run_queue
