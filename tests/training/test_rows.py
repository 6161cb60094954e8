"""Rows to train on: what stands in for what, and the one line where there is nothing."""

import numpy as np
import pytest

from visage.errors import DataError
from visage.training.rows import training_rows


def split(**rows: list[int]):  # type: ignore[no-untyped-def]
    return lambda name: np.array(rows.get(name, []), np.intp)


def test_an_empty_validation_split_is_said_and_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    train, valid = training_rows(split(train=[1, 2]), "frames", "eyes.prepare.train")
    assert train.tolist() == valid.tolist() == [1, 2]
    assert "no validation frames" in capsys.readouterr().out


def test_both_splits_are_given_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    train, valid = training_rows(split(train=[1, 2], val=[3]), "frames", "eyes.prepare.train")
    assert (train.tolist(), valid.tolist()) == ([1, 2], [3])
    assert not capsys.readouterr().out


def test_nothing_to_train_on_is_refused_with_what_to_do() -> None:
    with pytest.raises(DataError, match="no training frames: give eyes.prepare.train a larger share"):
        training_rows(split(val=[3]), "frames", "eyes.prepare.train")
