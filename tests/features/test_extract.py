"""Cached features: what is written is what the encoder gives, whatever happened on the way."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from closure import ROOT, closure
from features import random_networks
from visage.errors import DataError, Unfinished
from visage.features.config import Features
from visage.features.extract import extract, statistics
from visage.features.extraction import CODE, VECTORS
from visage.features.pretrain_task import preprocessing
from visage.features.table import FeatureTable, load_table
from visage.features.timm_encoders import load_encoder
from visage.io.atomic import read_jsonl, sha256_file, write_jsonl
from visage.io.images import encode_png, read_image
from visage.jobs.work import Outcome
from visage.runtime import Runtime
from visage.vision.normalise import preprocess

SETTINGS = Features(
    encoder="mobilenetv3_small_100",
    weights="encoder",
    weights_path=None,
    global_pool="avg",
    size=32,
    backend="torch",
    precision="fp32",
    batch_size=4,
    images_per_job=5,
    max_bad_fraction=0.2,
)
RUNTIME = Runtime("cpu", 1, 1, 0, "fp32", "contiguous", True, 4.0, 0.0)
SPLITS = ("train", "train", "val", "test")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder as pretrain_encoder leaves it."""
    return random_networks.pretrained(tmp_path_factory.mktemp("pretrained"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eleven prepared pictures in three splits."""
    folder, noise, rows = tmp_path / "faces", np.random.default_rng(0), []
    folder.mkdir()
    for number in range(11):
        split = SPLITS[number % len(SPLITS)]
        (folder / f"{number:02d}.png").write_bytes(encode_png(noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)))
        row = {"sample_id": f"s{number}", "path": f"{number:02d}.png", "split": split, "class": f"c{number % 2}"}
        rows.append(row | {"sha256": sha256_file(folder / f"{number:02d}.png")})
    write_jsonl(folder / "manifest.jsonl", rows)
    return folder


def run(data: Path, pretrained: Path, settings: Features = SETTINGS, name: str = "out", **runtime: Any) -> FeatureTable:
    place = data.parent
    extract(
        settings,
        replace(RUNTIME, **runtime),
        data=data,
        pretrained=pretrained,
        out=place / name,
        metrics=place / f"{name}.json",
        job_root=place / "jobs",
    )
    return load_table(place / name)


def shards(data: Path) -> list[Path]:
    return sorted((data.parent / "jobs").rglob("[!.]*.done"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISAGE_WORKERS", "1")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def test_the_table_is_the_standardised_output_of_the_encoder(data: Path, pretrained: Path) -> None:
    table = run(data, pretrained)
    assert table.features.shape == (11, 1024) and table.features.dtype == np.float16
    assert [row["sample_id"] for row in table.rows] == [f"s{number}" for number in range(11)]
    assert table.split("train").tolist() == [0, 1, 4, 5, 8, 9]
    train = table.features[table.split("train")].astype(np.float64)
    assert np.abs(train.mean(0)).max() < 0.01
    assert np.abs(train.std(0) - 1).max() < 0.01
    images = torch.from_numpy(
        np.stack([preprocess(read_image(data / row["path"]), preprocessing(32)) for row in table.rows])
    )
    with torch.inference_mode():
        wanted = load_encoder(data.parent / "out")(images).numpy()
    np.testing.assert_allclose(table.features, (wanted - table.mean) / table.std, atol=0.02)


def test_the_same_bytes_come_out_of_another_store(data: Path, pretrained: Path) -> None:
    run(data, pretrained)
    first = contents(data.parent / "out")
    (data.parent / "jobs").rename(data.parent / "away")
    run(data, pretrained, name="again")
    assert contents(data.parent / "again") == first


def test_a_time_limit_keeps_the_jobs_that_are_done(data: Path, pretrained: Path) -> None:
    with pytest.raises(Unfinished, match="jobs left"):
        run(data, pretrained, max_minutes=1e-9)
    run(data, pretrained)
    assert len(shards(data)) == 3


def test_a_new_split_computes_nothing_again_and_changes_the_statistics(
    data: Path, pretrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run(data, pretrained)
    rows = read_jsonl(data / "manifest.jsonl")
    write_jsonl(
        data / "manifest.jsonl", [row | {"split": "test" if row["split"] == "train" else "train"} for row in rows]
    )
    capsys.readouterr()
    after = run(data, pretrained)
    assert "0 jobs computed and 3 found" in capsys.readouterr().out
    # A random network's activations are around 1e-9: in float16 without the statistics nothing would be left of them.
    assert before.std.max() < 1e-7
    assert not np.allclose(before.std / after.std, 1, atol=0.01)
    again = ((before.features * before.std + before.mean) - after.mean) / after.std
    np.testing.assert_allclose(after.features, again, atol=0.02)


def test_other_pictures_weights_and_settings_are_other_work(data: Path, pretrained: Path, tmp_path: Path) -> None:
    run(data, pretrained)
    run(data, pretrained, replace(SETTINGS, global_pool="max"))
    assert len(shards(data)) == 6
    other = random_networks.pretrained(tmp_path / "other", seed=1)
    run(data, other)
    assert len(shards(data)) == 9
    run(data, pretrained, replace(SETTINGS, max_bad_fraction=0.1))
    assert len(shards(data)) == 9


def test_a_damaged_picture_is_set_aside(data: Path, pretrained: Path) -> None:
    damage(data, 3)
    table = run(data, pretrained)
    assert [row["sample_id"] for row in table.rows] == [f"s{number}" for number in range(11) if number != 3]
    assert [row["path"] for row in read_jsonl(data.parent / "out" / "quarantine.jsonl")] == ["03.png"]
    good = run(data, pretrained).features[3]  # row 3 is picture 4 now
    assert np.abs(good.astype(np.float32)).max() > 0


def test_too_many_damaged_pictures_stop_the_run_with_one_line(data: Path, pretrained: Path) -> None:
    damage(data, 1, 2, 3)
    with pytest.raises(DataError, match=r"3 of 11 pictures are bad .*01\.png.*max_bad_fraction") as error:
        run(data, pretrained)
    assert "\n" not in str(error.value)


def test_a_missing_picture_is_no_damaged_picture(data: Path, pretrained: Path) -> None:
    (data / "03.png").unlink()
    with pytest.raises(DataError, match=r"03\.png is not there"):
        run(data, pretrained)
    assert not any("03" in path.read_text() for path in data.parent.rglob("quarantine.jsonl"))


def damage(data: Path, *numbers: int) -> None:
    """Cut pictures short; the manifest knows what is there now, as after a preparation that let them pass."""
    rows = read_jsonl(data / "manifest.jsonl")
    for number in numbers:
        path = data / f"{number:02d}.png"
        path.write_bytes(path.read_bytes()[:200])
        rows[number]["sha256"] = sha256_file(path)
    write_jsonl(data / "manifest.jsonl", rows)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-5, 1.0, 1e4]),
    st.sampled_from([0.0, 1e3]),
)
def test_statistics_are_those_of_the_chosen_rows(sizes: list[int], seed: int, scale: float, offset: float) -> None:
    random = np.random.default_rng(seed)
    vectors = (scale * (random.random((sum(sizes), 3)) + offset)).astype(np.float32)
    chosen = random.random(len(vectors)) < 0.7
    chosen[0] = True
    starts = np.cumsum([0, *sizes])
    jobs = [
        (SimpleNamespace(first=start, items=[None] * size), Outcome({VECTORS: vectors[start : start + size]}, []))
        for start, size in zip(starts, sizes, strict=False)
    ]
    mean, std = statistics(SimpleNamespace(read=lambda: iter(jobs)), chosen)  # type: ignore[arg-type]
    wanted = vectors[chosen].astype(np.float64)
    np.testing.assert_allclose(mean, wanted.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std, np.maximum(wanted.std(0), 1e-2 * np.sqrt((wanted**2).mean())), rtol=1e-3)


def test_every_module_that_decides_a_vector_is_part_of_the_version() -> None:
    files = {"src/visage/features/backends.py", "src/visage/features/extraction.py", "src/visage/vision/resize.py"}
    used = {name.removeprefix("src/visage/") for file in files for name in closure(ROOT / file)}
    # Parameters are part of the identity one by one; the others handle files, jobs and exports.
    others = ("export/", "jobs/", "features/config.py", "features/table.py", "io/atomic.py", "runtime.py", "training/")
    assert {name for name in used if not name.startswith(others)} == set(CODE)
