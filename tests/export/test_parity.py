"""Parity finds what differs and says on which batch."""

import numpy as np
import pytest

from visage.errors import VisageError
from visage.export.parity import TOLERANCE, Run, check_parity

BATCH = np.zeros((2, 3, 4, 4), np.float32)
LOGITS = np.array([[1.0, 2.0], [4.0, 3.0]], np.float32)


def gives(logits: np.ndarray) -> Run:
    return lambda _: logits


def test_equal_logits_differ_by_nothing() -> None:
    assert check_parity("m", gives(LOGITS), [BATCH], [LOGITS]) == {
        "max_abs_diff": 0.0,
        "argmax_agreement": 1.0,
    }


def test_the_difference_is_the_power_of_ten_above_it() -> None:
    parity = check_parity("m", gives(LOGITS + np.float32(3e-4)), [BATCH], [LOGITS])
    assert parity["max_abs_diff"] == 1e-3


def test_the_tolerance_is_relative_to_the_largest_logit() -> None:
    over = LOGITS + np.float32(4.0 * TOLERANCE * 1.1)
    with pytest.raises(VisageError, match=r"m: logits differ .* batch of 2x3x4x4"):
        check_parity("m", gives(over), [BATCH], [LOGITS])
    assert check_parity("m", gives(over * 100), [BATCH], [over * 100 + np.float32(0.1)])


def test_a_single_logit_decides_by_its_sign() -> None:
    reference = np.array([[1.0], [1e-5], [-1.0], [-1.0]], np.float32)
    parity = check_parity("m", gives(reference - np.float32(2e-5)), [BATCH], [reference])
    assert parity["argmax_agreement"] == 0.75


def test_another_shape_and_a_failing_run_are_refused_in_one_line() -> None:
    def fail(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("first line\nsecond line")

    with pytest.raises(VisageError, match=r"gives \(2, 1\)"):
        check_parity("m", gives(LOGITS[:, :1]), [BATCH], [LOGITS])
    with pytest.raises(VisageError, match=r"fails on a batch of 2x3x4x4 \(first line\)$"):
        check_parity("m", fail, [BATCH], [LOGITS])
