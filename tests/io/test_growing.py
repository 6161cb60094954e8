"""A .npy file written array by array is the one numpy would have written, and says nothing while it is unfinished."""

import numpy as np
import pytest

from visage.io.growing import GrowingArray


def test_the_file_is_what_numpy_reads(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    with GrowingArray(tmp_path / "a.npy", (3, 2), np.float16) as array:
        for value in values:
            array.append(value)
    found = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert found.dtype == np.float16
    assert np.array_equal(found, values)


def test_a_writer_that_fails_leaves_an_array_of_nothing(tmp_path):
    def write(*lengths: int) -> None:
        with GrowingArray(tmp_path / "a.npy", (2,), np.uint8) as array:
            for length in lengths:
                array.append(np.ones(length, np.uint8))

    with pytest.raises(AssertionError):
        write(2, 3)
    assert np.load(tmp_path / "a.npy").shape == (0, 2)


def test_another_shape_or_a_cast_that_loses_is_refused(tmp_path):
    with GrowingArray(tmp_path / "a.npy", (2,), np.uint8) as array:
        with pytest.raises(AssertionError):
            array.append(np.ones(3, np.uint8))
        with pytest.raises(TypeError):
            array.append(np.ones(2, np.float32))
