"""What leaves a run is plain, flat and free of credentials."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from visage.tracking.values import flatten, hide, hide_arguments, is_better, plain, plain_numbers, redact, to_json


@dataclass
class _Optimizer:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


def test_nested_mappings_and_dataclasses_become_dotted_names():
    tree = {"seed": 1, "train": {"optimizer": _Optimizer(), "root": Path("data/x")}}
    assert flatten(tree) == {
        "seed": 1,
        "train.optimizer.lr": 1e-3,
        "train.optimizer.betas": [0.9, 0.999],
        "train.root": "data/x",
    }


def test_scalars_of_numpy_and_torch_become_python_numbers():
    torch = pytest.importorskip("torch")
    assert [type(plain(value)) for value in (np.float32(1), np.int64(2), torch.tensor(3.0))] == [float, int, float]
    assert plain_numbers({"a": torch.tensor([0.5]), "b": np.float32(0.25), "c": 3}) == {"a": 0.5, "b": 0.25, "c": 3.0}


def test_a_metric_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="high"):
        plain_numbers({"accuracy": "high"})


@pytest.mark.parametrize(
    "text",
    [
        "http://alice:hunter2@host:5000/x",
        "failed: 'https://alice:hun/ter2@host'"[:17] + "://alice:hunter2@host'",
        "s3://alice:hunter2@h",
    ],
)
def test_no_password_survives_in_an_address(text):
    assert "hunter2" not in redact(text)
    assert "alice" not in redact(text)
    assert "h" in redact(text)


def test_an_address_without_credentials_is_left_alone():
    assert redact("see http://host:5000/a and mail a@b.c") == "see http://host:5000/a and mail a@b.c"


def test_secret_parameters_are_hidden_and_innocent_ones_kept():
    hidden = hide({"hub.token": "x", "API_KEY": "y", "max_tokens": 5, "token_size": 4, "url": ["http://u:p@h"]})
    assert hidden == {
        "hub.token": "[hidden]",
        "API_KEY": "[hidden]",
        "max_tokens": 5,
        "token_size": 4,
        "url": ["http://h"],
    }


def test_secret_arguments_of_the_command_are_hidden():
    shown = hide_arguments(["x.py", "hub.token=abc", "--api-key", "def", "--lr", "1", "u=http://a:b@h"])
    assert shown == "x.py hub.token=[hidden] --api-key [hidden] --lr 1 u=http://h"


def test_json_has_no_nan():
    assert json.loads(to_json({"a": math.nan, "b": [math.inf, 1.0]})) == {"a": None, "b": [None, 1.0]}


@pytest.mark.parametrize(
    ("name", "new", "old", "wins"),
    [
        ("valid_loss", 1.0, 2.0, True),
        ("valid_accuracy", 1.0, 2.0, False),
        ("mask/iou", 0.9, 0.8, True),
        ("lpips", 0.3, 0.2, False),
        ("glossy", 2.0, 1.0, True),
        ("loss", math.nan, 1.0, False),
        ("loss", 1.0, math.nan, True),
    ],
)
def test_the_best_of_a_loss_is_the_lowest_and_of_a_score_the_highest(name, new, old, wins):
    assert is_better(name, new, old) is wins
