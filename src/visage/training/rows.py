"""Which rows of a prepared set are trained on, and which decide the best epoch."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError

Rows = NDArray[np.intp]


def training_rows(split: Callable[[str], Rows], things: str, share: str) -> tuple[Rows, Rows]:
    """The training and the validation rows, the first standing in for an empty second.

    split: gives the rows of "train" and of "val". things: what they are, in the plural. share: the parameter that says
    how many are for training.

    Raises:
        DataError: there is nothing to train on.
    """
    train, valid = split("train"), split("val")
    if not len(train):
        raise DataError(f"there are no training {things}: give {share} a larger share")
    if not len(valid):
        print(f"warning: no validation {things}, the best epoch is chosen on the training {things}")
    return train, valid if len(valid) else train
