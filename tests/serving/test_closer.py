"""The closer look: small heads in large pictures, and nothing where there is none."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from serving.toy import export_dark, iou, portrait, write
from visage import cli
from visage.errors import VisageError
from visage.io.atomic import read_jsonl
from visage.serving import closer
from visage.serving.predict import PREDICTIONS, predict
from visage.serving.segmenter import Segmenter
from visage.serving.tasks import soft_of

Planes = NDArray[np.float32]
SIDE = 32
SIZE = closer.FACTORS[-1] * SIDE


def scene(*heads: tuple[int, int, int, int, float]) -> Planes:
    """A picture (1, 1, SIZE, SIZE) of -3 with rectangles (x, y, width, height) of a score."""
    picture = np.full((1, 1, SIZE, SIZE), -3, np.float32)
    for x, y, width, height, score in heads:
        picture[0, 0, y : y + height, x : x + width] = score
    return picture


def bright(batch: Planes) -> Planes:
    """A network to which the picture is the score: logits of (N, 1, S, S)."""
    return np.concatenate((-batch / 2, batch / 2), axis=1)


def mask(logits: Planes) -> NDArray[np.uint8]:
    return (logits[0, 1] > logits[0, 0]).astype(np.uint8)


def closer_mask(picture: Planes, ask: closer.Ask = bright) -> NDArray[np.uint8]:
    return mask(closer.look_closer(ask, picture, SIDE))


def test_the_network_is_asked_at_every_scale_and_again_about_each_region() -> None:
    asked = []

    def ask(batch: Planes) -> Planes:
        asked.append(batch.shape)
        return bright(batch)

    closer.look_closer(ask, scene((10, 10, 20, 20, 3), (90, 90, 20, 20, 3)), SIDE)
    whole = [(1, 1, factor * SIDE, factor * SIDE) for factor in closer.FACTORS]
    cut_outs = 2 * 2 * len(closer.CONTEXTS)  # of each region, as it is and mirrored
    assert asked == [*whole, *[(1, 1, SIDE, SIDE)] * cut_outs]


def test_cut_outs_show_the_region_in_their_middle_with_their_surroundings() -> None:
    seen = []

    def ask(batch: Planes) -> Planes:
        seen.append(batch[0, 0])
        return bright(batch)

    closer.look_closer(ask, scene((60, 50, 20, 20, 3)), SIDE)
    for context, shown in zip(closer.CONTEXTS, seen[len(closer.FACTORS) :: 2], strict=True):
        rows, columns = np.nonzero(shown > 0)
        middle = (SIDE - 1) / 2
        assert abs(rows.mean() - middle) < 1 and abs(columns.mean() - middle) < 1
        assert np.ptp(rows) + 1 == pytest.approx(SIDE / context, abs=2)


def test_what_only_the_cut_out_shows_is_put_back_where_it_was() -> None:
    # The network sees a blob in the whole picture, and the notch in it only where it is close.
    fine = scene((60, 50, 20, 20, 4))
    fine[0, 0, 50:60, 60:70] = -9

    def ask(batch: Planes) -> Planes:
        close = (batch > 0).mean() > 0.05
        return bright(batch if close else np.where(batch < -4, np.float32(4), batch))

    found = closer_mask(fine, ask)
    assert iou(found, (fine[0, 0] > 0).astype(np.uint8)) > 0.85
    assert not found[52:57, 62:67].any()


def test_one_scale_does_not_outvote_the_others_however_certain() -> None:
    for factor in closer.FACTORS:

        def ask(batch: Planes, factor: int = factor) -> Planes:
            only = batch.shape[2] == factor * SIDE
            return bright(batch if only else np.full_like(batch, -4))

        assert not closer_mask(scene((40, 40, 30, 30, 1000)), ask).any()


@pytest.mark.parametrize("people", [1, closer.REGIONS])
def test_so_many_people_are_found(people: int) -> None:
    places = [(6 + 42 * (number % 3), 10 + 62 * (number // 3), 20, 20, 3.0) for number in range(people)]
    picture = scene(*places)
    assert iou(closer_mask(picture), (picture[0, 0] > 0).astype(np.uint8)) > 0.9


def test_what_is_far_less_sure_than_the_best_is_not_hair() -> None:
    found = closer_mask(scene((8, 8, 24, 24, 5), (90, 80, 24, 24, 0.9)))
    assert found[20, 20] and not found[92, 102]
    assert closer_mask(scene((90, 80, 24, 24, 0.9)))[92, 102]


def test_a_large_place_of_which_the_network_is_not_sure_does_not_outweigh_a_head() -> None:
    found = closer_mask(scene((4, 4, 70, 60, 1.5), (96, 90, 16, 16, 6)))
    assert found[98, 104] and not found[30, 40]


def test_a_picture_without_hair_and_one_of_hair_alone() -> None:
    assert not closer_mask(scene()).any()
    assert closer_mask(scene((0, 0, SIZE, SIZE, 3))).all()


def test_alpha_reaches_both_ends() -> None:
    logits = closer.look_closer(bright, scene((20, 20, 24, 24, 50)), SIDE)
    alpha = np.rint(soft_of(logits[0, 1] - logits[0, 0]) * 255)
    assert alpha[32, 32] == 255 and alpha[120, 120] == 0


def test_a_region_at_the_border_is_cut_out_inside_the_picture() -> None:
    for x, y in ((0, 0), (SIZE - 16, 0), (0, SIZE - 16), (SIZE - 16, SIZE - 16)):
        picture = scene((x, y, 16, 16, 3))
        assert iou(closer_mask(picture), (picture[0, 0] > 0).astype(np.uint8)) > 0.75


def test_a_batch_is_answered_picture_by_picture() -> None:
    one, other = scene((10, 10, 20, 20, 3)), scene((60, 70, 16, 16, 3))
    both = closer.look_closer(bright, np.concatenate((one, other)), SIDE)
    assert both.dtype == np.float32
    np.testing.assert_array_equal(both[:1], closer.look_closer(bright, one, SIDE))
    np.testing.assert_array_equal(both[1:], closer.look_closer(bright, other, SIDE))


@pytest.mark.parametrize("broken_at", [SIZE, SIDE])
def test_an_answer_that_is_not_a_number_is_passed_on(broken_at: int) -> None:
    looks = []

    def ask(batch: Planes) -> Planes:
        looks.append(batch.shape[2])
        broken = broken_at == SIZE or len(looks) > len(closer.FACTORS)
        return bright(np.full_like(batch, np.nan) if broken else batch)

    assert np.isnan(closer.look_closer(ask, scene((40, 40, 20, 20, 3)), SIDE)).any()


def photograph() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A head of a fifth of the picture, and the mask of its hair."""
    image, truth = np.full((480, 600, 3), 210, np.uint8), np.zeros((480, 600), np.uint8)
    image[40:136, 420:492], truth[40:136, 420:492] = portrait(96, 72)
    return image, truth


def test_every_way_in_gives_the_same_closer_mask(tmp_path: Path) -> None:
    model, (image, truth) = export_dark(tmp_path / "hair"), photograph()
    near = Segmenter(model, closer=True).segment(image)
    assert iou(near.mask, truth) > 0.6 > 0.3 > iou(Segmenter(model).segment(image).mask, truth)
    path = write(tmp_path / "a.png", image)
    runner, options = CliRunner(), ["--closer", "--out"]
    answer = runner.invoke(cli.app, ["predict", str(model), str(path), *options, str(tmp_path / "out")])
    assert answer.exit_code == 0, answer.output
    row = read_jsonl(tmp_path / "out" / PREDICTIONS)[0]
    np.testing.assert_array_equal(cv2.imread(row["mask"], cv2.IMREAD_UNCHANGED), near.mask * 255)
    red = ["recolor", str(path), "--model", str(model), "--color", "#ff0000", *options, str(tmp_path / "red.png")]
    assert runner.invoke(cli.app, red).exit_code == 0
    changed = (cv2.imread(str(tmp_path / "red.png"))[..., ::-1] != image).any(axis=2)
    assert not changed[near.mask == 0].any() and changed[near.mask > 0].mean() > 0.9
    refused = runner.invoke(cli.app, [*red, "--mask", str(path)])
    assert refused.exit_code and "leave out --model, --size and --closer" in refused.output


def test_what_cannot_look_closer_is_told_so(tmp_path: Path, model_folder: Path) -> None:
    model = export_dark(tmp_path / "hair")
    with pytest.raises(VisageError, match="sets the sizes itself: leave out the size"):
        Segmenter(model, size=256, closer=True)
    needs = "a closer look needs a segmenter of hair with a square input of free size: leave out closer"
    for other in (export_dark(tmp_path / "fixed", dynamic=False), export_dark(tmp_path / "eye", label="pupil")):
        with pytest.raises(VisageError, match=needs):
            Segmenter(other, closer=True)
    with pytest.raises(VisageError, match=needs):
        predict(model_folder, [tmp_path], tmp_path / "out", closer=True)
