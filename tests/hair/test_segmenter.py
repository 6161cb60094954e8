"""Training of the hair segmenter: what it is trained on, what it is scored by, and that a killed run ends the same."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hair.segmenter_toy import SIZE, augmentation, encoder, picture, prepared, run, runtime, segmenter_settings, still
from visage.errors import DataError, DoesNotFitError, Unfinished
from visage.hair import augment, losses
from visage.hair.bisenet import SegmenterOutput
from visage.hair.data import HairSamples, edge_band
from visage.hair.networks import load_network
from visage.hair.prepared import load_set
from visage.hair.segmenter_task import Forecast, SegmenterTask, overlap, pictures_per_epoch, planned_epochs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with prepared hair and an encoder, and its own place for state and records."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    prepared(tmp_path / "data")
    encoder(tmp_path / "encoder")
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmenter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        prepared(folder / "data")
        encoder(folder / "encoder")
        run(folder, segmenter_settings())
    return folder


def test_hair_is_learned(trained: Path) -> None:
    measured = json.loads((trained / "hair.json").read_text())
    assert measured["valid_iou"] > 0.8
    assert measured["valid_f1"] == pytest.approx(2 * measured["valid_iou"] / (1 + measured["valid_iou"]), abs=1e-3)
    assert measured["valid_alpha_error"] < 0.1
    assert measured["epochs"] == 8
    assert measured["parameters"] == measured["trained_parameters"]


def test_a_checkpoint_gives_back_the_network(trained: Path) -> None:
    network, saved = load_network(trained / "out" / "best_model.pt")
    assert (saved["kind"], saved["context"], saved["size"]) == ("bisenet_mobilenet", "mobilenet_v3_small", SIZE)
    assert saved["metrics"]["valid_iou"] == max(
        load_network(trained / "out" / name)[1]["metrics"]["valid_iou"] for name in ("best_model.pt", "final_model.pt")
    )
    pictures = load_set(trained / "data")
    samples = HairSamples(pictures, pictures.split("val"))
    answers, truths = [], []
    for index in range(len(samples)):
        image, alpha, _ = samples[(0, index)]
        with torch.inference_mode():
            logits = network(torch.from_numpy(image)[None])
        answers.append(logits[0, 1] > logits[0, 0])
        truths.append(torch.from_numpy(alpha) >= 128)
    sums = overlap(torch.stack(answers), torch.stack(truths))
    iou = sums["common"] / (sums["answer"] + sums["truth"] - sums["common"])
    assert iou.item() == pytest.approx(saved["metrics"]["valid_iou"], abs=2e-3)


def test_the_history_has_iou_and_f1_of_every_epoch(trained: Path) -> None:
    lines = (trained / "plots/history.csv").read_text().splitlines()
    columns = lines[0].split(",")
    names = ("loss", "iou", "f1", "picture_iou", "alpha_error", "ce_loss", "dice_loss", "edge_loss")
    assert {f"{split}_{name}" for split in ("train", "valid") for name in names} <= set(columns)
    assert len(lines) == 9
    row = dict(zip(columns, map(float, lines[-1].split(",")), strict=True))
    assert row["valid_loss"] == pytest.approx(row["valid_ce_loss"] + row["valid_dice_loss"], abs=1e-5)
    sides = row["train_ce_loss"] + row["train_dice_loss"] + losses.SIDE * row["train_side_loss"]
    assert row["train_loss"] == pytest.approx(sides, abs=1e-5)


@pytest.mark.parametrize(("arch", "frozen"), [("modnet_mobilenet", True), ("bisenet_resnet18", False)])
def test_the_other_networks_train_frozen_or_whole(
    folder: Path, arch: str, frozen: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, segmenter_settings(arch=arch, freeze=frozen, epochs=1, max_steps=2))
    network, saved = load_network(folder / "out" / "final_model.pt")
    assert saved["kind"] == arch
    assert network(torch.zeros(1, 3, 64, 32)).shape == (1, 2, 64, 32)
    assert ("random weights" in capsys.readouterr().out) == (arch == "bisenet_resnet18")
    measured = json.loads((folder / "hair.json").read_text())
    assert (measured["trained_parameters"] < measured["parameters"]) == frozen


def test_another_file_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="not a checkpoint of train_hair_segmenter"):
        load_network(tmp_path / "x.pt")
    torch.save({"kind": "modnet_mobilenet", "context": "resnet18", "model": {}}, tmp_path / "y.pt")
    with pytest.raises(DataError, match="another modnet_mobilenet network"):
        load_network(tmp_path / "y.pt")


def stage(folder: Path) -> subprocess.Popen[bytes]:
    """A process that trains on `folder`."""
    if not (folder / "data").exists():
        prepared(folder / "data", {"train": 12, "val": 4})
        encoder(folder / "encoder")
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "DVC_ROOT": str(folder)}
    program = [sys.executable, "-m", "hair.segmenter_toy", str(folder)]
    return subprocess.Popen(program, env=environment, stdout=subprocess.DEVNULL)


def test_a_killed_stage_ends_in_the_same_files(tmp_path: Path) -> None:
    assert stage(tmp_path / "whole").wait() == 0
    child = stage(tmp_path / "killed")
    while child.poll() is None:
        if list((tmp_path / "killed").glob(".visage/state/*/*/state.pt")):
            child.send_signal(signal.SIGKILL)
        time.sleep(0.02)
    assert child.wait() == -signal.SIGKILL
    assert stage(tmp_path / "killed").wait() == 0
    for name in ("out/best_model.pt", "out/final_model.pt", "hair.json", "plots/history.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name


def test_a_time_limit_keeps_the_work_and_the_price_is_no_part_of_its_name(folder: Path) -> None:
    for price in (0.0, 2.0):
        with pytest.raises(Unfinished):
            run(folder, segmenter_settings(price_per_hour=price), runtime(max_minutes=1e-6))
    assert not list(folder.glob("out/*.pt"))
    assert len(list((folder / ".visage/state/train_hair_segmenter").rglob("state.pt"))) == 1


def test_what_cannot_be_trained_on_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    encoder(tmp_path / "encoder")
    with pytest.raises(DataError, match="prepare_hair"):
        run(tmp_path, segmenter_settings())
    prepared(tmp_path / "data", {"val": 4})
    with pytest.raises(DataError, match="no training pictures"):
        run(tmp_path, segmenter_settings())
    small = runtime()
    small.memory_gb = 0.1
    (tmp_path / "data").rename(tmp_path / "old")
    prepared(tmp_path / "data", {"train": 4})
    with pytest.raises(DoesNotFitError, match="segmenter.micro_batch=4"):
        run(tmp_path, segmenter_settings(), small)
    assert "no validation pictures" in capsys.readouterr().out


@settings(max_examples=50, deadline=None)
@given(pictures=st.integers(1, 500), batch=st.integers(1, 16), epochs=st.integers(1, 20), cap=st.integers(1, 400))
def test_all_epochs_together_keep_to_the_steps(pictures: int, batch: int, epochs: int, cap: int) -> None:
    capped = segmenter_settings(epochs=epochs, batch_size=batch, max_steps=cap)
    each = pictures_per_epoch(capped, pictures)
    assert 1 <= each <= pictures
    assert planned_epochs(capped) * -(-each // batch) <= cap
    free = replace(capped, max_steps=0)
    assert (pictures_per_epoch(free, pictures), planned_epochs(free)) == (pictures, epochs)


def test_a_capped_epoch_reads_other_pictures_than_the_one_before(folder: Path) -> None:
    pictures = load_set(folder / "data")
    samples = HairSamples(pictures, pictures.split("train"), still(), seed=1, portion=8)
    assert len(samples) == 8
    seen = [{samples[(epoch, index)][0].tobytes() for index in range(8)} for epoch in range(3)]
    assert len(set.union(*seen)) == 24


def test_what_is_still_to_do_is_foretold_once_from_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    forecast = Forecast(segmenter_settings(epochs=4, price_per_hour=1.5), pictures=100)
    forecast.begin_epoch(0)
    assert capsys.readouterr().out == ""
    # Continued in the middle of the epoch: fifty of its pictures took a minute.
    forecast.seen = 50
    assert forecast.line(1, 60.0) == "estimate: 6.0 minutes to go at most, 0.15 at 1.5 an hour"
    for epoch in (1, 2):
        forecast.begin_epoch(epoch)
    assert capsys.readouterr().out.count("estimate") == 1


def test_the_estimate_is_said_in_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder, segmenter_settings(epochs=3, max_steps=3, price_per_hour=1.0))
    assert capsys.readouterr().out.count("estimate: ") == 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), row=st.integers(0, 2))
def test_picture_and_alpha_move_together(seed: int, row: int) -> None:
    _, alpha = picture(row)
    strong = augmentation(rotation=40.0, scale=0.4, shift=0.3)
    image = np.repeat(alpha[..., None], 3, axis=2)
    moved, moved_alpha = augment.move(image, alpha, strong, np.random.default_rng(seed))
    # Where nothing moved in from outside, the picture is the alpha.
    whole = np.full((SIZE, SIZE), 255, np.uint8)
    _, inside = augment.move(image, whole, strong, np.random.default_rng(seed))
    np.testing.assert_array_equal(moved[inside == 255][:, 0], moved_alpha[inside == 255])
    assert not moved_alpha[inside == 0].any()
    assert (moved[inside == 0] == augment.GREY).all()


def test_a_pasted_patch_brings_its_alpha_and_spares_the_originals() -> None:
    zeros, ones = np.zeros((SIZE, SIZE), np.uint8), np.full((SIZE, SIZE), 255, np.uint8)
    image, alpha = augment.paste(
        np.repeat(zeros[..., None], 3, 2), zeros, np.repeat(ones[..., None], 3, 2), ones, np.random.default_rng(1)
    )
    assert 0 < alpha.mean() < 255 * augment.PATCH[1] ** 2 + 1
    np.testing.assert_array_equal(image[..., 0], alpha)
    assert not zeros.any()


@given(seed=st.integers(0, 2**32 - 1))
def test_a_decoy_is_hair_of_another_picture_behind_the_hair_of_this_one(seed: int) -> None:
    alpha, cover = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    alpha[20:40, 20:40], cover[10:50, 20:30] = 255, 255
    image, other = (np.repeat(grey[..., None], 3, 2) for grey in (np.full((64, 64), 100, np.uint8), cover))
    shown = augment.decoy(image, alpha, other, cover, np.random.default_rng(seed))
    assert (shown[alpha == 255] == 100).all() and (image == 100).all()
    # At an edge half of the other picture's background may come along, by half.
    assert shown.min() >= 80
    np.testing.assert_array_equal(augment.decoy(image, alpha, other, 0 * cover, np.random.default_rng(seed)), image)


def test_all_of_the_hair_is_a_decoy_only_where_it_does_not_stand_upright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "WHOLE", 1.0)
    cover = np.zeros((64, 64), np.uint8)
    cover[24:40, 28:36] = 255
    other, image = np.repeat(cover[..., None], 3, 2), np.zeros((64, 64, 3), np.uint8)
    other[32:40] = 120
    sizes, turns = [], []
    for seed in range(200):
        shown = augment.decoy(image, 0 * cover, other, cover, np.random.default_rng(seed))[..., 0]
        if not (shown[[0, -1]].any() or shown[:, [0, -1]].any()) and shown.any():
            top, bottom = (np.argwhere(part).mean(0) for part in (shown > 200, (shown > 100) & (shown < 140)))
            turns.append(np.degrees(np.arctan2(*(top - bottom)[::-1])))  # 180 is upright
            sizes.append(np.count_nonzero(shown > 60) / np.count_nonzero(cover))
    assert max(np.abs(turns)) < 180 - 50 and np.ptp(turns) > 200
    assert min(sizes) < 0.25 and max(sizes) > 1.4


@given(seed=st.integers(0, 2**32 - 1))
def test_a_mosaic_shows_four_pictures_and_their_alphas_at_the_same_places(seed: int) -> None:
    # The picture says what its alpha is: 10 apart for each, brighter where there is hair.
    pictures = []
    for number in range(4):
        alpha = np.zeros((64, 64), np.uint8)
        alpha[24:40, 24:40] = 255
        image = np.repeat((np.where(alpha, 200, 50) + 10 * number).astype(np.uint8)[..., None], 3, 2)
        pictures.append((image, alpha))
    image, alpha = augment.mosaic(pictures, np.random.default_rng(seed))
    assert image.shape == (64, 64, 3)
    grey = image[..., 0].astype(int)
    assert {*grey[alpha == 255]} == {200, 210, 220, 230}
    assert {*grey[alpha == 0]} == {50, 60, 70, 80}
    assert pictures[0][1].sum() == 256 * 255


@given(seed=st.integers(0, 2**32 - 1), most=st.floats(0, 7))
def test_a_zoom_enlarges_picture_and_alpha_alike(seed: int, most: float) -> None:
    alpha = np.zeros((64, 64), np.uint8)
    alpha[8:20, 30:50] = 255
    image, moved = augment.zoom(np.repeat(alpha[..., None], 3, 2), alpha, most, np.random.default_rng(seed))
    assert image.shape == (64, 64, 3) and moved.shape == (64, 64)
    np.testing.assert_array_equal(image[..., 0], moved)
    grown = (np.count_nonzero(moved > 127) / np.count_nonzero(alpha)) ** 0.5
    assert grown <= (1 + most) * 1.25  # by the rounding of small parts


def test_a_zoom_enlarges_by_every_factor_up_to_its_most() -> None:
    alpha = np.zeros((64, 64), np.uint8)
    alpha[28:36, 28:36] = 255
    image = np.repeat(alpha[..., None], 3, 2)
    found = [augment.zoom(image, alpha, 1.0, np.random.default_rng(seed))[1] for seed in range(200)]
    whole = [moved for moved in found if not (moved[[0, -1]].any() or moved[:, [0, -1]].any()) and moved.any()]
    sides = [np.count_nonzero(moved > 127) ** 0.5 / 8 for moved in whole]
    assert min(sides) < 1.15 and max(sides) > 1.8


def test_a_zoom_is_mostly_at_the_hair_and_at_times_without_any() -> None:
    alpha = np.zeros((64, 64), np.uint8)
    alpha[4:10, 4:10] = 255
    image = np.repeat(alpha[..., None], 3, 2)
    seen = [augment.zoom(image, alpha, 2.0, np.random.default_rng(seed))[1].any() for seed in range(200)]
    assert 0.75 < np.mean(seen) < 1


@given(angle=st.floats(-3.2, 3.2))
def test_turning_the_hue_keeps_greys_and_lengths(angle: float) -> None:
    matrix = augment.turn_hue(angle)
    np.testing.assert_allclose(matrix @ np.ones(3), np.ones(3), atol=1e-12)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)


def test_without_strengths_nothing_is_changed_and_with_them_each_epoch_differs(folder: Path) -> None:
    pictures = load_set(folder / "data")
    rows = pictures.split("train")
    plain, same = HairSamples(pictures, rows), HairSamples(pictures, rows, still(), seed=1)
    for ours, theirs in zip(plain[(0, 1)], same[(0, 1)], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    strong = HairSamples(pictures, rows, augmentation(), seed=1)
    np.testing.assert_array_equal(strong[(1, 0)][0], strong[(1, 0)][0])
    assert (strong[(1, 0)][0] != strong[(2, 0)][0]).any()


def test_the_band_lies_about_the_edge() -> None:
    alpha = np.zeros((SIZE, SIZE), np.uint8)
    alpha[:, 32:] = 255
    band = edge_band(alpha)
    assert (np.flatnonzero(band[5]) == [31, 32]).all()
    assert not edge_band(np.zeros_like(alpha)).any()
    assert not edge_band(np.full_like(alpha, 255)).any()


def test_the_boundary_weighs_mistakes_near_the_edge() -> None:
    truth, band = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    band[0, 0] = 1
    each = losses.cross_entropy(torch.zeros(1, 4, 4), truth)
    plain = each.mean((1, 2))
    torch.testing.assert_close(losses.emphasised(each, band, 0.0), plain)
    torch.testing.assert_close(losses.emphasised(each, band, 2.0), plain * 1.5)
    torch.testing.assert_close(losses.within(each, band), plain)
    assert losses.within(each, torch.zeros_like(band)).item() == 0


@given(share=st.floats(0.05, 1.0))
def test_dice_of_a_soft_truth_is_perfect_where_the_answer_is_the_truth(share: float) -> None:
    truth = torch.full((1, 4, 4), share)
    assert losses.soft_dice(truth, truth).item() == pytest.approx(0, abs=1e-6)
    assert losses.soft_dice(torch.zeros(1, 4, 4), truth).item() == pytest.approx(1)
    assert losses.soft_dice(truth, torch.zeros(1, 4, 4)).item() == 0


def test_the_side_heads_answer_for_averages_and_edges() -> None:
    truth = torch.zeros(1, 8, 8)
    truth[:, :, 4:] = 1
    sure = torch.tensor([[[[0.0, 0.0], [0.0, 0.0]], [[-20.0, 20.0], [-20.0, 20.0]]]])
    output = SegmenterOutput(torch.zeros(1, 2, 8, 8), (sure,))
    assert losses.side_loss(output, truth, torch.zeros_like(truth)).item() == pytest.approx(0, abs=1e-6)
    wrong = SegmenterOutput(output.logits, (), -sure)
    assert losses.side_loss(wrong, truth, torch.zeros_like(truth)).item() == 0
    assert losses.side_loss(wrong, truth, torch.ones_like(truth)).item() == pytest.approx(20, rel=1e-3)


def test_pictures_without_hair_alone_make_a_finite_loss(folder: Path) -> None:
    """A batch may hold nothing else."""
    task = SegmenterTask(segmenter_settings(augment=still()), folder / "data", folder / "encoder", 3)
    bald = [index for index in range(24) if index % 7 == 3][:2]
    batch = torch.utils.data.default_collate([task.train_samples[(0, index)] for index in bald])
    loss, sums = task.loss(task.model.train(), batch, True)
    loss.backward()
    assert loss.isfinite()
    assert sums["with_hair"] == sums["truth"] == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.model.parameters())
    report = task.report({name: float(value) for name, value in sums.items()}, 2)
    assert all(np.isfinite(value) for value in report.values())
