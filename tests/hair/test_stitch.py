"""Stitched masks: what a whole picture would give, without seams, in bounded memory."""

import csv
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hair.patch_toy import (
    COUNTS,
    PATCHES,
    drawn,
    head_settings,
    prepared,
    pretrained,
    run_extract,
    run_head,
    run_stitch,
)
from visage.errors import DataError
from visage.hair.patch_head import coverage
from visage.hair.patch_segmenter import PatchSegmenter, open_segmenter
from visage.hair.stitch import Seams, overlay
from visage.io.images import read_image
from visage.vision.patches import RowStitcher, grid


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all three stages have run."""
    folder = tmp_path_factory.mktemp("stitch")
    prepared(folder)
    pretrained(folder / "encoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        patch.setenv("VISAGE_WORKERS", "1")
        run_extract(folder)
        run_head(folder, head_settings(epochs=12))
        run_stitch(folder)
    return folder


@pytest.fixture(scope="module")
def segmenter(made: Path) -> PatchSegmenter:
    return open_segmenter(PATCHES, made / "encoder", made / "head/best_head.pt", torch.device("cpu"))


def test_masks_have_the_size_of_the_originals_and_find_the_hair(made: Path) -> None:
    with open(made / "stitched/stitched.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == COUNTS["test"]
    for row in rows:
        number = int(row["sample_id"].removeprefix("p/"))
        mask = read_image(made / "stitched" / row["mask"])[:, :, 0]
        original = read_image(made / f"originals/{number:02d}.png")
        assert mask.shape == original.shape[:2] and set(np.unique(mask)) <= {0, 255}
        truth, said = drawn(number, *mask.shape)[1] > 0, mask > 0
        assert (truth & said).sum() / (truth | said).sum() > 0.7
    metrics = json.loads((made / "stitched.json").read_text())
    assert metrics["iou"] > 0.75 and metrics["pictures"] == COUNTS["test"]
    assert metrics["seam_step"] < metrics["near_step"] + 0.02


def test_samples_are_small(made: Path) -> None:
    plots = list((made / "plots_stitched").iterdir())
    assert sorted(path.name for path in plots) == [*(f"mask_{i:02d}.png" for i in range(4)), "overlays_1.png"]
    assert all(path.stat().st_size <= 200_000 for path in plots)


def test_the_same_bytes_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(made))
    run_stitch(made, name="again")
    for place in ("stitched", "plots_stitched"):
        for path in (made / place).iterdir():
            assert path.read_bytes() == (made / place.replace("stitched", "again") / path.name).read_bytes()


def test_stitched_answers_are_those_of_the_whole_picture() -> None:
    """A convolution sees zeros beyond a patch's border: joined hard that shows, blended it does not."""
    picture = cv2.resize(np.random.default_rng(0).random((9, 7), dtype=np.float32), (300, 420))

    def convolve(part: np.ndarray) -> np.ndarray:
        return cv2.blur(part, (9, 9), borderType=cv2.BORDER_CONSTANT)

    whole = convolve(picture)
    stitcher, rows, hard = RowStitcher(420, 300, 128, 32), [], np.zeros_like(whole)
    for box in grid(420, 300, 128, 32):
        answer = convolve(np.ascontiguousarray(picture[box.y0 : box.y1, box.x0 : box.x1]))
        hard[box.y0 : box.y1, box.x0 : box.x1] = answer
        finished = stitcher.add(answer)
        rows += [] if finished is None else [finished]
    blended = np.concatenate(rows)
    assert np.abs(hard - whole).max() > 0.3
    assert np.abs(blended - whole).max() < 0.05
    assert (blended[:90, :90] == whole[:90, :90]).all()  # no other patch and no border is near


def test_patches_of_the_network_agree_with_the_whole_picture(segmenter: PatchSegmenter) -> None:
    image, _ = drawn(77, 128, 96)
    with torch.inference_mode():
        maps = segmenter.encoder.maps(torch.from_numpy(image[None]))
        whole = coverage(segmenter.head.decode(maps))[0].numpy()
    rows = np.concatenate(list(segmenter.rows(image)))
    # The encoder pools over all that it sees, so patches and picture cannot agree to the bit.
    said, wanted = rows >= 0.5, whole >= 0.5
    assert (said & wanted).sum() / (said | wanted).sum() > 0.8


def test_the_blend_has_no_seam_where_hard_joins_have_one(made: Path) -> None:
    """An answer that depends on the patch: blended, its steps at borders are those of its surroundings."""

    def steps(hard: bool) -> dict[str, float]:
        stitcher, rows, seams = RowStitcher(400, 400, 128, 32), [], Seams()
        rough = np.zeros((400, 400), np.float32)
        for number, box in enumerate(grid(400, 400, 128, 32)):
            answer = np.full((128, 128), 0.3 + 0.4 * (number % 2), np.float32)
            rough[box.y0 : box.y1, box.x0 : box.x1] = answer
            finished = stitcher.add(answer)
            rows += [] if finished is None else [finished]
        seams.add(np.rint((rough if hard else np.concatenate(rows)) * 255).astype(np.uint8), 128, 32)
        return seams.report()

    hard, soft = steps(True), steps(False)
    assert hard["seam_step"] > 0.05
    assert soft["seam_step"] < 0.1 * hard["seam_step"]


def test_a_picture_smaller_than_a_patch_is_answered(segmenter: PatchSegmenter) -> None:
    for shape in ((1, 1), (7, 200), (63, 30)):
        assert segmenter.coverage(np.full((*shape, 3), 128, np.uint8)).shape == shape


def test_rows_come_before_the_picture_is_done_and_memory_does_not_grow_with_it(segmenter: PatchSegmenter) -> None:
    def peak(height: int) -> int:
        image = np.full((height, 160, 3), 190, np.uint8)
        tracemalloc.start()
        for _ in segmenter.rows(image):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(200)
    assert peak(2000) < 1.3 * peak(200) + 100_000


def test_another_encoder_or_size_is_refused(made: Path, tmp_path: Path) -> None:
    device, head = torch.device("cpu"), made / "head/best_head.pt"
    with pytest.raises(DataError, match="patches of 64 px, patches.size is 96"):
        open_segmenter(replace(PATCHES, size=96), made / "encoder", head, device)
    other = tmp_path / "encoder"
    other.mkdir()
    (other / "encoder.json").write_bytes((made / "encoder/encoder.json").read_bytes())
    content = bytearray((made / "encoder/encoder.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "encoder.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="another encoder"):
        open_segmenter(PATCHES, other, head, device)


def test_seams_of_a_picture_of_one_patch_are_not_measured() -> None:
    seams = Seams()
    seams.add(np.zeros((64, 64), np.uint8), 64, 16)
    assert all(np.isnan(value) for value in seams.report().values())


def test_an_overlay_paints_hair_only() -> None:
    image, whole = np.full((40, 40, 3), 100, np.uint8), np.zeros((40, 40), np.uint8)
    whole[:, 20:] = 255
    painted = overlay(image, whole, 40)
    assert (painted[:, :20] == 100).all()
    assert (painted[:, 20:] != 100).any(2).all()
