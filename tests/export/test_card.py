"""Cards survive the trip through JSON, and a bad one is refused with what is wrong."""

import json
from dataclasses import replace

import pytest

from visage.errors import VisageError
from visage.export.card import ModelCard, Preprocessing, parse_card


def test_a_card_comes_back_equal_from_its_json(card: ModelCard) -> None:
    stamped = replace(card, model_version="0123456789ab", classes=["ä", 'quote"', "line\nbreak"])
    assert parse_card(stamped.to_json(), "model.onnx") == stamped


def test_keys_of_a_later_version_are_passed_over(card: ModelCard) -> None:
    stamped = replace(card, model_version="0123456789ab")
    text = json.dumps({**json.loads(stamped.to_json()), "parity": {}, "later": 1})
    assert parse_card(text, "model.json") == stamped


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", '{"name": "x"}', "not json"])
def test_text_that_is_no_card_is_refused_by_file(text: str) -> None:
    with pytest.raises(VisageError, match=r"^here\.onnx: "):
        parse_card(text, "here.onnx")


@pytest.mark.parametrize("key", ["task", "classes", "preprocessing", "model_version"])
def test_a_missing_key_is_named(card: ModelCard, key: str) -> None:
    values = json.loads(replace(card, model_version="0123456789ab").to_json())
    del values[key]
    with pytest.raises(VisageError, match=key):
        parse_card(json.dumps(values), "model.onnx")


def test_a_card_that_was_never_stamped_is_refused(card: ModelCard) -> None:
    with pytest.raises(VisageError, match="no model_version"):
        parse_card(card.to_json(), "model.onnx")


@pytest.mark.parametrize(
    "values",
    [
        {"height": 0},
        {"mean": (0.5,)},
        {"std": (0.2, 0.2)},
        {"std": (0.2, 0.0, 0.2)},
        {"resize": "crop"},
        {"colour": "BGR"},
        {"colour": "GRAY"},
    ],
)
def test_preprocessing_that_cannot_be_honoured_is_refused(values: dict) -> None:
    with pytest.raises(VisageError, match="preprocessing"):
        Preprocessing(**{"height": 8, "width": 8, "mean": (0.5,) * 3, "std": (0.2,) * 3, **values})
