"""The closer look: small heads in large pictures, and nothing where there is none."""

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.toy import export_dark, iou, portrait
from visage.errors import VisageError
from visage.io.atomic import read_jsonl
from visage.serving import closer
from visage.serving.predict import PREDICTIONS, predict
from visage.serving.segmenter import Segmenter

SIDE = 32
SIZE = closer.FACTORS[-1] * SIDE


def scene(*heads: tuple[int, int, int], strength: float = 3.0) -> NDArray[np.float32]:
    """A picture (1, 1, SIZE, SIZE) of -1 with squares (x, y, side) of `strength`."""
    picture = np.full((1, 1, SIZE, SIZE), -1, np.float32)
    for x, y, side in heads:
        picture[0, 0, y : y + side, x : x + side] = strength
    return picture


def bright(batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is bright is hair: logits of (N, 1, S, S)."""
    return np.concatenate((-batch / 2, batch / 2), axis=1)


def mask(logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    return (logits[0, 1] > logits[0, 0]).astype(bool)


def test_the_answer_is_finer_than_that_of_one_look() -> None:
    picture = scene((100, 90, 9))
    found = closer.look_closer(bright, picture, SIDE)
    assert found.shape == (1, 2, SIZE, SIZE) and found.dtype == np.float32
    assert iou(mask(found), picture[0, 0] > 0) > 0.75


def test_the_network_is_asked_at_every_scale_and_again_about_each_place() -> None:
    asked = []

    def ask(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        asked.append(batch.shape)
        return bright(batch)

    closer.look_closer(ask, scene((10, 10, 20), (90, 90, 20)), SIDE)
    whole = [(1, 1, factor * SIDE, factor * SIDE) for factor in closer.FACTORS]
    assert asked == [*whole, (1, 1, SIDE, SIDE), (1, 1, SIDE, SIDE)]


def test_two_people_are_both_found_and_a_weak_place_is_not() -> None:
    picture = scene((8, 8, 24), (90, 80, 24))
    found = mask(closer.look_closer(bright, picture, SIDE))
    assert found[20, 20] and found[92, 102]
    picture[0, 0, 80:104, 90:114] = 0.4
    found = mask(closer.look_closer(bright, picture, SIDE))
    assert found[20, 20] and not found[92, 102]


def test_what_looks_like_hair_at_one_scale_only_is_not() -> None:
    def ask(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return bright(batch if batch.shape[2] == SIZE else np.minimum(batch, -1))

    assert not mask(closer.look_closer(ask, scene((40, 40, 30)), SIDE)).any()


def test_a_picture_without_hair_and_one_of_hair_alone() -> None:
    assert not mask(closer.look_closer(bright, scene(), SIDE)).any()
    assert mask(closer.look_closer(bright, scene((0, 0, SIZE)), SIDE)).all()


def test_a_place_at_the_border_is_cut_out_inside_the_picture() -> None:
    for x, y in ((0, 0), (SIZE - 12, 0), (0, SIZE - 12), (SIZE - 12, SIZE - 12)):
        picture = scene((x, y, 12))
        assert iou(mask(closer.look_closer(bright, picture, SIDE)), picture[0, 0] > 0) > 0.75


def test_a_batch_is_answered_picture_by_picture() -> None:
    one, other = scene((10, 10, 20)), scene((60, 70, 16))
    both = closer.look_closer(bright, np.concatenate((one, other)), SIDE)
    np.testing.assert_array_equal(both[:1], closer.look_closer(bright, one, SIDE))
    np.testing.assert_array_equal(both[1:], closer.look_closer(bright, other, SIDE))


def test_segmenter_and_predict_give_the_same_closer_mask(tmp_path) -> None:
    import cv2

    model = export_dark(tmp_path / "hair")
    image, truth = np.full((480, 600, 3), 210, np.uint8), np.zeros((480, 600), np.uint8)
    head, hair = portrait(96, 72)
    image[40:136, 420:492], truth[40:136, 420:492] = head, hair
    near = Segmenter(model, closer=True).segment(image)
    assert iou(near.mask, truth) > 0.7 > 0.3 > iou(Segmenter(model).segment(image).mask, truth)
    np.testing.assert_array_equal(near.mask, near.alpha > 0.5)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    predict(model, [tmp_path / "a.png"], tmp_path / "out", closer=True)
    row = read_jsonl(tmp_path / "out" / PREDICTIONS)[0]
    np.testing.assert_array_equal(cv2.imread(row["mask"], cv2.IMREAD_UNCHANGED), near.mask * 255)


def test_what_cannot_look_closer_is_told_so(tmp_path, model_folder) -> None:
    model = export_dark(tmp_path / "hair")
    with pytest.raises(VisageError, match="sets the sizes itself: leave out the size"):
        Segmenter(model, size=256, closer=True)
    with pytest.raises(VisageError, match="takes pictures of 64x64 pixels only"):
        Segmenter(export_dark(tmp_path / "fixed", dynamic=False), closer=True)
    with pytest.raises(VisageError, match="only a segmenter of two classes takes a closer look: leave out closer"):
        predict(model_folder, [tmp_path], tmp_path / "out", closer=True)
