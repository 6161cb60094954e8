"""evaluate_inpainter: its numbers are what their names say, and the truth's hair is never shown to whoever paints."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from inpaint.tiny import SIDE, SIZE, Trained
from inpaint.toy import contents, runtime
from visage.errors import ConfigError, DataError
from visage.inpaint import evaluate_inpainter
from visage.inpaint.conditions import Told
from visage.inpaint.evaluate_inpainter import Bench, IdentityLike, evaluate, open_bench, paint_all
from visage.inpaint.latents import open_autoencoder
from visage.inpaint.painter import Canvas, Painter, known_pixels, open_painter
from visage.inpaint.quality import measure, median_colour
from visage.inpaint.record import METADATA, read_metadata, stored_row
from visage.inpaint.shown import Shown
from visage.inpaint.snapshots import newest, open_snapshot
from visage.inpaint.train_inpainter import LATEST, Inputs
from visage.inpaint.tryout_config import Tryout
from visage.io.atomic import sha256_file, write_jsonl
from visage.metrics.rounding import NOT_MEASURED
from visage.vision.palette import delta_e

WAYS = {"inpainter", "opencv", "mean_colour", "autoencoder"}
SEED = 3


def tryout(**changes: Any) -> Tryout:
    values: dict[str, Any] = {
        "sampler": "ddim", "steps": 2, "guidance": 1.5, "pictures": 3, "batch_size": 2, "lpips": "alex",
        "lpips_file": None,
    }  # fmt: skip
    return Tryout(**(values | changes))


def judge(folder: Path, made: Inputs, snapshots: Path, chosen: Tryout | None = None) -> dict[str, Any]:
    """Evaluate into `folder`; returns the metrics."""
    evaluate(
        chosen or tryout(), runtime(), seed=SEED, inputs=made, snapshots=snapshots, metrics=folder / "metrics.json",
        plots=folder / "plots",
    )  # fmt: skip
    return dict(json.loads((folder / "metrics.json").read_text()))


@pytest.fixture(scope="module")
def judged(made: Inputs, painter_run: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        judge(folder, made, painter_run.out)
    return folder


@pytest.fixture(scope="module")
def bench(made: Inputs) -> Bench:
    return open_bench(made, SIZE, 3)


@pytest.fixture(scope="module")
def painter(made: Inputs, painter_run: Trained) -> Painter:
    chosen, _ = newest(painter_run.out)
    return open_painter(open_snapshot(chosen), open_autoencoder(made.autoencoder), chosen.config)


def metrics_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text()))


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# What is written


def test_every_way_is_measured_and_the_gate_s_numbers_are_of_the_table(judged: Path, painter_run: Trained) -> None:
    found = metrics_of(judged)
    assert found.keys() >= WAYS
    for way in WAYS:
        assert found[way]["hair_psnr"]["pictures"] == found["pictures"] == 3
    ours, gate = found["inpainter"], found["gate"]
    psnr = ours["hair_psnr"]["mean"]
    assert gate == {
        "psnr": psnr,
        "over_inpaint": pytest.approx(psnr - found["opencv"]["hair_psnr"]["mean"], abs=1e-3),
        "over_mean": pytest.approx(psnr - found["mean_colour"]["hair_psnr"]["mean"], abs=1e-3),
        "delta_e": ours["delta_e"]["median"],
        "swapped_delta_e": ours["swapped_delta_e"]["median"],
        "texture": pytest.approx(
            ours["contrast_share"]["mean"] / found["autoencoder"]["contrast_share"]["mean"], abs=1e-3
        ),
        "lpips": NOT_MEASURED,
    }
    assert ours["lpips"] == found["lpips_net"] == NOT_MEASURED  # there is no file
    assert (found["sources"], found["refused"]) == (3, 0)
    assert found["sampler"] == {"name": "ddim", "steps": 2, "guidance": 1.5}
    assert (found["snapshot"], found["step"]) == (LATEST, painter_run.metrics["steps"])
    assert found["sha256"] == sha256_file(painter_run.out / LATEST)


def test_the_baselines_are_what_their_names_say(judged: Path, bench: Bench) -> None:
    found, bald, flat = metrics_of(judged), [], []
    for index in range(3):
        truth, hair, filled = bench.pictures.image(index), bench.hair(index), known_pixels(bench.canvas(index))
        bald.append(measure(filled, truth, hair))
        filled[hair] = np.rint(truth[hair].mean(0)).astype(np.uint8)
        flat.append(measure(filled, truth, hair))
    for way, each in (("opencv", bald), ("mean_colour", flat)):
        assert found[way]["hair_psnr"]["mean"] == pytest.approx(np.mean([one["hair_psnr"] for one in each]), abs=1e-3)
        assert found[way]["delta_e"]["median"] == pytest.approx(np.median([one["delta_e"] for one in each]), abs=1e-3)


def test_plots_are_of_every_way_and_of_every_snapshot(judged: Path) -> None:
    names = {path.name for path in (judged / "plots").iterdir()}
    assert names == {"own.png", "swapped.png", "comparison.csv", "histograms.csv", "steps.csv"}
    found = metrics_of(judged)
    for name in ("own.png", "swapped.png"):
        assert cv2.imread(str(judged / "plots" / name)) is not None
    assert (judged / "plots/own.png").read_bytes() != (judged / "plots/swapped.png").read_bytes()
    rows = {row["way"]: row for row in table(judged / "plots/comparison.csv")}
    assert rows.keys() == WAYS
    for way, row in rows.items():
        assert float(row["hair_psnr"]) == found[way]["hair_psnr"]["mean"]
        assert float(row["delta_e"]) == found[way]["delta_e"]["median"]
    bars = table(judged / "plots/histograms.csv")
    assert sum(row["metric"] == "hair_psnr" for row in bars) == 3 * len(WAYS)
    steps = table(judged / "plots/steps.csv")
    assert [int(row["step"]) for row in steps] == [2, 4, 6, 8]
    assert len({row["hair_psnr"] for row in steps}) > 1


def test_two_runs_give_the_same_bytes(judged: Path, made: Inputs, painter_run: Trained, place: Path) -> None:
    judge(place, made, painter_run.out)
    assert (place / "metrics.json").read_bytes() == (judged / "metrics.json").read_bytes()
    assert contents(place / "plots") == contents(judged / "plots")


def test_the_usable_snapshot_of_most_steps_is_judged(made: Inputs, painter_run: Trained, place: Path) -> None:
    for name in ("stage2_step_2", "stage2_step_8", "stage2_epoch_1"):
        shutil.copy(painter_run.out / f"{name}.safetensors", place)
    (place / "zz_newest.safetensors").write_bytes(b"half a file")
    found = judge(place, made, place, tryout(pictures=1))
    assert (found["snapshot"], found["step"], found["refused"]) == ("stage2_step_8.safetensors", 8, 1)
    assert found["pictures"] == 1


# What is painted


def test_what_is_not_to_be_painted_is_the_picture_bit_for_bit(bench: Bench, painter: Painter) -> None:
    for styles in ([0, 1, 2], [1, 2, 0]):
        made = paint_all(painter, bench, [0, 1, 2], styles, tryout(), SEED)
        for index, result in enumerate(made):
            kept = bench.pictures.paint(index) == 0
            assert 0 < kept.mean() < 1
            assert np.array_equal(result[kept], bench.pictures.image(index)[kept])
            assert not np.array_equal(result, known_pixels(bench.canvas(index)))


def test_company_does_not_matter(bench: Bench, painter: Painter) -> None:
    rows = [0, 1, 2]
    together, alone = (paint_all(painter, bench, rows, rows, tryout(batch_size=size), SEED) for size in (3, 1))
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1
    another = paint_all(painter, bench, rows, rows, tryout(), SEED + 1)
    assert not np.array_equal(another[0], together[0])


@pytest.mark.parametrize("size", [SIZE, 2 * SIDE])  # of the larger one the seam is soft
def test_the_hair_that_is_to_come_is_never_shown(made: Inputs, painter: Painter, tmp_path: Path, size: int) -> None:
    """Test pictures whose hair is noise: nothing that is painted changes, for the style is read from the hair alone."""
    bench = open_bench(made, size, 3)
    shutil.copytree(made.data, tmp_path / "data")
    for row in bench.pictures.rows:
        image, mask = (cv2.imread(str(made.data / name)) for name in (row.image, row.mask))
        image[mask > 0] = np.random.default_rng(1).integers(0, 256, image.shape, np.uint8)[mask > 0]
        cv2.imwrite(str(tmp_path / "data" / row.image), image)
    blind = open_bench(replace(made, data=tmp_path / "data"), size, 3)
    rows, styles = [0, 1, 2], [1, 2, 0]
    for index in rows:
        assert not np.array_equal(blind.pictures.image(index), bench.pictures.image(index))
        assert np.array_equal(known_pixels(blind.canvas(index)), known_pixels(bench.canvas(index)))
    assert all(torch.equal(one, other) for one, other in zip(blind.told, bench.told, strict=True))
    for shown in (painter.shown, Shown("masked", False)):
        other = replace(painter, shown=shown)
        results = [paint_all(other, one, rows, styles, tryout(), SEED) for one in (bench, blind)]
        assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_prompt_and_style_are_the_reference_s_and_the_face_is_one_s_own(bench: Bench) -> None:
    told, own = bench.told_of([0, 1, 2], [1, 2, 0]), bench.told
    assert torch.equal(told.tokens, own.tokens[[1, 2, 0]])
    assert torch.equal(told.pooled, own.pooled[[1, 2, 0]])
    assert torch.equal(told.style, own.style[[1, 2, 0]])
    assert torch.equal(told.identity, own.identity)
    assert torch.equal(told.there[:, :2], own.there[[1, 2, 0], :2])
    assert torch.equal(told.there[:, 2], own.there[:, 2])
    missing = [float(not row.identity_missing) for row in bench.pictures.rows]
    assert own.there[:, 2].tolist() == missing
    assert set(missing) == {0.0, 1.0}


# What the numbers are of


@dataclass(frozen=True)
class Flat:
    """Paints what `colour` says of (a canvas, the row whose style is told)."""

    bench: Bench
    colour: Callable[[Canvas, int], np.ndarray]

    def paint(self, canvases: Sequence[Canvas], told: Told, settings: Tryout, seed: int) -> list[np.ndarray]:
        made = []
        for canvas, style in zip(canvases, told.style, strict=True):
            (reference,) = torch.nonzero((self.bench.told.style == style).all(1))[:, 0].tolist()
            result = known_pixels(canvas)
            result[canvas.hair != 0] = self.colour(canvas, reference)
            made.append(result)
        return made


def median_rgb(image: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """A pixel of the hair whose colour is nearest to the median colour."""
    pixels = image[hair]
    wanted = median_colour(image, hair)
    each = np.stack([median_colour(pixel[None, None], np.ones((1, 1), bool)) for pixel in pixels])
    return pixels[np.linalg.norm(each - wanted, axis=1).argmin()]


@pytest.mark.parametrize("by", ["reference", "own"])
def test_a_style_of_another_is_judged_by_that_one_s_hair(
    made: Inputs, painter_run: Trained, bench: Bench, place: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    rows = range(3)
    flat = [median_rgb(bench.pictures.image(index), bench.hair(index)) for index in rows]

    def colour(canvas: Canvas, reference: int) -> np.ndarray:
        if by == "reference":
            return flat[reference]
        (own,) = [index for index in rows if np.array_equal(canvas.bald, bench.pictures.bald(index))]
        return flat[own]

    monkeypatch.setattr(evaluate_inpainter, "open_painter", lambda *_: Flat(bench, colour))
    monkeypatch.setattr(evaluate_inpainter, "open_lpips", lambda *_: lambda result, truth: 0.25)
    found = judge(place, made, painter_run.out)
    medians = [median_colour(bench.pictures.image(index), bench.hair(index)) for index in rows]
    apart = [float(delta_e(medians[index], medians[(index + 1) % 3])) for index in rows]
    assert min(apart) > 15
    ours = found["inpainter"]
    assert ours["delta_e"]["median"] < 4  # its own style is its own hair
    if by == "reference":
        assert ours["swapped_delta_e"]["median"] < 4
    else:
        assert ours["swapped_delta_e"]["median"] == pytest.approx(np.median(apart), abs=4)
    assert found["gate"]["swapped_delta_e"] == ours["swapped_delta_e"]["median"]
    # Outside the hair, what was painted is the picture or its filling; LPIPS is the judge's, under its net's name.
    assert ours["identity_similarity"]["mean"] > 0.5
    assert (ours["lpips"]["mean"], found["gate"]["lpips"], found["lpips_net"]) == (0.25, 0.25, "alex")


def test_equal_pictures_are_the_same_person_whatever_their_hair(made: Inputs, bench: Bench) -> None:
    alike, image, hair = IdentityLike(made.encoder), bench.pictures.image(0), bench.hair(0)
    assert alike(image, image, hair) == pytest.approx(1, abs=1e-5)
    dyed = image.copy()
    dyed[hair] = np.uint8([250, 20, 120])
    assert alike(dyed, image, hair) == pytest.approx(1, abs=1e-5)
    assert alike(dyed, image, np.zeros_like(hair)) < 1 - 1e-4
    assert alike(255 - image, image, hair) < 1 - 1e-4


# What is refused


def test_weights_that_the_pipeline_does_not_watch_are_refused(made: Inputs, painter_run: Trained, place: Path) -> None:
    pattern = r"^tryout\.lpips_file=alex\.pth: put or link the file into data/raw/weights/, which the pipeline watches$"
    with pytest.raises(ConfigError, match=pattern):
        judge(place, made, painter_run.out, tryout(lpips_file="alex.pth"))


def test_without_test_pictures_or_snapshots_nothing_begins(made: Inputs, painter_run: Trained, place: Path) -> None:
    with pytest.raises(DataError, match=r"no usable snapshot of an inpainter: dvc repro train_inpainter$"):
        judge(place, made, place)
    rows = [stored_row(row) for row in read_metadata(made.data) if row.split != "test"]
    write_jsonl(place / "data" / METADATA, rows)
    with pytest.raises(DataError, match=r"^there are no test pictures: give inpaint\.prepare\.test a larger share$"):
        judge(place, replace(made, data=place / "data"), painter_run.out)


def test_test_pictures_are_chosen_evenly(made: Inputs, place: Path) -> None:
    rows = [row for row in read_metadata(made.data) if row.split == "test"]
    for count in (1, 2, 3, 10):
        chosen = open_bench(made, SIZE, count).pictures.rows
        assert len(chosen) == min(count, len(rows))
        assert len({row.id for row in chosen}) == len(chosen)
        assert chosen[0] == rows[0]
