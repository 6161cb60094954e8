"""Cached features of patches: what is written is what the encoder gives, and what a head learns from it alone."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from closure import ROOT, closure
from hair.patch_toy import COUNTS, PATCHES, head_settings, prepared, pretrained, run_extract, run_head, runtime
from visage.errors import DataError, Unfinished
from visage.hair.extract_patches import ChannelStatistics
from visage.hair.patch_encoder import MapShape, open_encoder, split_maps
from visage.hair.patch_extraction import CODE, MAPS, PatchExtraction, mean_grey, patch_item
from visage.hair.patch_head import PatchHead, load_head
from visage.hair.patch_manifest import COLUMNS, load_patches
from visage.hair.patch_task import near_edge, patch_label
from visage.hair.prepared import load_set
from visage.io.atomic import read_jsonl, sha256_file
from visage.io.images import read_image
from visage.vision.patches import Box, cut, grid


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prepared pictures, an encoder and the extracted patches: not to be changed."""
    folder = tmp_path_factory.mktemp("patches")
    prepared(folder)
    pretrained(folder / "encoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        patch.setenv("VISAGE_WORKERS", "1")
        run_extract(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, with two training pictures and one for validation."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("VISAGE_WORKERS", "1")
    prepared(tmp_path, {"train": 2, "val": 1})
    (tmp_path / "encoder").symlink_to(made / "encoder")
    return tmp_path


def test_the_manifest_names_every_patch_of_the_originals(made: Path) -> None:
    patches, hair = load_patches(made / "patches"), load_set(made / "data")
    with open(made / "patches/patch_manifest.v001.csv", newline="") as file:
        assert next(csv.reader(file)) == list(COLUMNS)
    wanted = [
        (row["file"], box, row["split"])
        for row in hair.rows
        for box in grid(int(row["file_height"]), int(row["file_width"]), PATCHES.size, PATCHES.overlap)
    ]
    assert [(row["parent_image"], patches.box(i), row["split"]) for i, row in enumerate(patches.rows)] == wanted
    assert [int(row["row"]) for row in patches.rows] == list(range(len(wanted)))
    assert len({row["patch_id"] for row in patches.rows}) == len(wanted)
    assert all((made / "patches" / row["features_path"]).is_file() for row in patches.rows)
    metrics = json.loads((made / "patches.json").read_text())
    assert sum(metrics["patches"].values()) == len(wanted) and metrics["pictures"] == sum(COUNTS.values())


def test_features_are_the_maps_of_the_encoder(made: Path) -> None:
    patches, encoder = load_patches(made / "patches"), open_encoder(made / "encoder")
    assert patches.features.dtype == np.float16
    assert patches.features.shape[1] == 24 * 8 * 8 + 48 * 4 * 4 + 96 * 2 * 2
    for row in (0, 5, len(patches.rows) - 1):
        image = read_image(made / "originals" / patches.rows[row]["parent_image"])
        patch = cut(image, patches.box(row), PATCHES.size, mean_grey())
        wanted = encoder(torch.from_numpy(patch[None].copy()))[0].numpy()
        np.testing.assert_allclose(patches.features[row], wanted, rtol=2e-3, atol=2e-3)
        assert wanted.std() > 0.05


def test_a_patch_has_the_same_bits_in_any_company(made: Path) -> None:
    patches = load_patches(made / "patches")
    work = PatchExtraction(PATCHES, made / "encoder", patches.weights_sha256, "cpu")
    path = made / "originals/00.png"
    items = [patch_item(sha256_file(path), path, patches.box(row)) for row in range(4)]
    compute = work.open()
    together = compute(items).arrays[MAPS]
    for place, item in enumerate(items):
        assert (compute([item]).arrays[MAPS][0] == together[place]).all()
        assert (compute(items[place:]).arrays[MAPS][0] == together[place]).all()
    assert (together == patches.features[:4]).all()


def test_another_store_and_more_workers_give_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_extract(folder)
    (folder / "jobs").rename(folder / "away")
    monkeypatch.setenv("VISAGE_WORKERS", "2")
    run_extract(folder, replace(PATCHES, patches_per_job=3), name="again")
    for name in ("features.npy", "patch_manifest.v001.csv", "meta.json", "statistics.npz"):
        assert (folder / "patches" / name).read_bytes() == (folder / "again" / name).read_bytes()


def test_a_run_that_was_stopped_goes_on_with_what_is_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = replace(PATCHES, patches_per_job=2)
    with pytest.raises(Unfinished, match="jobs left"):
        run_extract(folder, small, runtime(1e-9))
    before = np.array(run_extract(folder, small).features)
    next((folder / "jobs").rglob("*.done")).unlink()
    capsys.readouterr()
    assert (run_extract(folder, small).features == before).all()
    assert "1 jobs computed" in capsys.readouterr().out


def test_a_damaged_shard_is_computed_again(folder: Path) -> None:
    before = np.array(run_extract(folder).features)
    shard = next((folder / "jobs").rglob("*.npz"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert (run_extract(folder).features == before).all()


def test_a_damaged_original_stops_the_run_and_is_named(folder: Path) -> None:
    path = folder / "originals/01.png"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"cannot be made .*01\.png.*prepare") as error:
        run_extract(folder)
    assert "\n" not in str(error.value)
    assert {row["path"] for row in read_jsonl(folder / "patches/quarantine.jsonl")} == {"01.png"}


def test_a_missing_original_is_named(folder: Path) -> None:
    (folder / "originals/01.png").unlink()
    with pytest.raises(DataError, match=r"01\.png is not there.*prepare_hair"):
        run_extract(folder)


def test_every_module_that_decides_a_feature_is_part_of_the_version() -> None:
    files = ("src/visage/hair/patch_extraction.py", "src/visage/hair/patch_encoder.py")
    used = {name.removeprefix("src/visage/") for file in files for name in closure(ROOT / file)}
    # Parameters are part of the identity one by one; the others handle files, jobs and exports.
    others = ("export/", "jobs/", "hair/config.py", "io/atomic.py", "runtime.py", "training/")
    assert {name for name in used if not name.startswith(others)} == set(CODE)


def test_statistics_are_those_of_the_channels() -> None:
    shapes, rng = [MapShape(8, 2), MapShape(16, 3)], np.random.default_rng(0)
    maps = rng.normal(5, 2, (7, sum(shape.values(32) for shape in shapes))).astype(np.float16)
    gathered = ChannelStatistics(shapes, 32)
    for start in (0, 3):
        gathered.add(maps[start : start + (3 if not start else 4)])
    mean, std = gathered.result()
    parts = [part.double() for part in split_maps(torch.from_numpy(maps), shapes, 32)]
    np.testing.assert_allclose(mean, torch.cat([part.mean((0, 2, 3)) for part in parts]), rtol=1e-4)
    np.testing.assert_allclose(std, torch.cat([part.std((0, 2, 3), correction=0) for part in parts]), rtol=1e-3)


def test_labels_lie_where_the_hair_of_the_original_is(made: Path) -> None:
    from hair.patch_toy import drawn

    hair = load_set(made / "data")
    for row in range(4):
        facts = hair.rows[row]
        height, width = int(facts["file_height"]), int(facts["file_width"])
        _, alpha = drawn(row, height, width)
        for box in grid(height, width, 64, 16):
            label = patch_label(hair, row, box, 64)
            assert label.shape == (32, 32)
            truth = np.zeros((64, 64), np.uint8)
            truth[: box.y1 - box.y0, : box.x1 - box.x0] = alpha[box.y0 : box.y1, box.x0 : box.x1]
            coarse = truth.reshape(32, 2, 32, 2).mean((1, 3))
            # The prepared picture has down to 0.43 of the original's pixels.
            assert np.abs(label - coarse).mean() < 0.03 * 255
    assert not patch_label(hair, 3, Box(0, 0, 64, 50), 64)[25:].any()


def test_only_pixels_near_an_edge_weigh_more() -> None:
    truth = torch.zeros(1, 20, 20)
    truth[:, :, 10:] = 1
    near = near_edge(truth)
    assert near[0, :, 8:12].all() and not near[0, :, :8].any() and not near[0, :, 12:].any()


def test_a_head_learns_hair_from_the_cache_alone(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(made))
    monkeypatch.setattr("visage.hair.patch_encoder.MapEncoder.__init__", None)  # no encoder in memory
    run_head(made, head_settings(epochs=12), name="learned")
    measured = json.loads((made / "learned.json").read_text())
    assert measured["valid_iou"] > 0.8
    head, saved = load_head(made / "learned/best_head.pt")
    patches = load_patches(made / "patches")
    assert not head.training and saved["weights_sha256"] == patches.weights_sha256
    np.testing.assert_array_equal(head.mean.flatten(), patches.mean)
    assert head(torch.from_numpy(np.array(patches.features[:2]))).shape == (2, 32, 32)
    history = (made / "plots_learned/history.csv").read_text().splitlines()
    assert len(history) == 13 and "valid_iou" in history[0]


def test_an_interrupted_training_ends_in_the_same_bytes(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(made / "whole_state"))
    run_head(made, head_settings(epochs=3), name="whole")
    monkeypatch.setenv("DVC_ROOT", str(made / "cut_state"))
    for _ in range(3):
        with pytest.raises(Unfinished):
            run_head(made, head_settings(epochs=3), runtime(1e-9), name="cut")
    run_head(made, head_settings(epochs=3), name="cut")
    for file in ("whole/best_head.pt", "whole.json", "plots_whole/history.csv"):
        assert (made / file).read_bytes() == (made / file.replace("whole", "cut")).read_bytes()


def test_another_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="not a checkpoint of train_patch_head"):
        load_head(tmp_path / "x.pt")
    with pytest.raises(DataError, match="run train_patch_head first"):
        load_head(tmp_path / "y.pt")


def test_the_head_works_on_maps_of_any_size() -> None:
    shapes = [MapShape(8, 4), MapShape(16, 5), MapShape(32, 6)]
    head = PatchHead(shapes, 64, 8, torch.zeros(15), torch.ones(15)).eval()
    maps = [torch.randn(1, shape.channels, 96 // shape.stride, 160 // shape.stride) for shape in shapes]
    assert head.decode(maps).shape == (1, 48, 80)
