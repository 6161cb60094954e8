"""Every stage that works in jobs, on a cluster of Dask: the same bytes as in one process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from closure import dag
from features import random_networks
from hair import patch_toy, zero_shot_toy
from inpaint import toy
from jobs.driver import run_here
from visage.features.config import Features
from visage.features.extract import extract
from visage.hair.zero_shot import segment
from visage.inpaint.diffusion_config import Prompts
from visage.inpaint.encode_prompts import encode_prompts
from visage.io.atomic import sha256_file, write_jsonl
from visage.io.images import encode_png
from visage.jobs import queue

distributed = pytest.importorskip("dask.distributed")
FEATURES = Features("mobilenetv3_small_100", "encoder", None, "avg", 32, "torch", "fp32", 2, 2, 0.0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="localhost:0") as cluster:
        yield cluster


def extract_features(folder: Path) -> None:
    noise, rows = np.random.default_rng(0), []
    (folder / "data").mkdir()
    for number in range(4):
        path = folder / f"data/{number}.png"
        path.write_bytes(encode_png(noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)))
        row = {"sample_id": str(number), "path": path.name, "split": "train", "class": "a", "sha256": sha256_file(path)}
        rows.append(row)
    write_jsonl(folder / "data/manifest.jsonl", rows)
    places = {"data": folder / "data", "pretrained": random_networks.pretrained(folder / "pretrained")}
    extract(FEATURES, toy.runtime(), **places, out=folder / "out", metrics=folder / "out.json")


def segment_zero_shot(folder: Path) -> None:
    data = zero_shot_toy.write_set(folder / "set")
    places = {"out": folder / "out", "metrics": folder / "out.json", "plots": folder / "plots"}
    segment(zero_shot_toy.settings(), zero_shot_toy.runtime(), data=data, **places)


def extract_patches(folder: Path) -> None:
    torch.manual_seed(0)  # the toy's seed comes after the layers that features do not use
    patch_toy.prepared(folder, {"train": 2, "val": 1})
    patch_toy.pretrained(folder / "encoder")
    patch_toy.run_extract(folder, name="out")


def prepare_inpaint(folder: Path) -> None:
    toy.tree(folder / "raw", views=1)
    toy.run(folder, folder / "raw")


def prompts(folder: Path) -> None:
    toy.tree(folder / "raw", views=1)
    toy.run(folder, folder / "raw")
    (folder / "out").rename(folder / "data")
    places = {"data": folder / "data", "out": folder / "out", "metrics": folder / "out.json"}
    encode_prompts(Prompts("new", None, 16, 2, 2), toy.runtime(), **places)


STAGES: dict[str, Callable[[Path], None]] = {
    "extract_features": extract_features,
    "segment_zero_shot": segment_zero_shot,
    "extract_patches": extract_patches,
    "prepare_inpaint": prepare_inpaint,
    "encode_prompts": prompts,
}


def test_no_stage_that_works_in_jobs_is_left_out() -> None:
    assert set(STAGES) == {name for name, stage in dag().items() if "src/visage/jobs/queue.py" in stage["deps"]}


@pytest.mark.parametrize("stage", STAGES)
def test_a_cluster_changes_no_byte(stage: str, tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
    monkeypatch.setenv("VISAGE_ENGINE", "dask")
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    with monkeypatch.context() as patch:
        patch.setenv("DVC_ROOT", str(tmp_path / "here"))
        patch.setattr(queue, "engine_from_environment", lambda: run_here)
        STAGES[stage](tmp_path / "here")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "there"))
    STAGES[stage](tmp_path / "there")
    assert toy.contents(tmp_path / "there/out") == toy.contents(tmp_path / "here/out") != {}
    workers = {f":{nanny.pid}" for nanny in cluster.workers.values()}
    records = [path.read_text() for path in (tmp_path / "there").rglob("shards/*.done")]
    assert records and all(any(worker in record for worker in workers) for record in records)
