"""The version follows what decides an answer, and nothing else; safetensors survive the trip."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from visage.errors import VisageError
from visage.export.card import STAMP, ModelCard, Preprocessing
from visage.export.weights import load_safetensors, model_version, plain_state, safetensors_bytes


def test_the_version_is_twelve_hexadecimal_digits(classifier: nn.Module, card: ModelCard) -> None:
    version = model_version(plain_state(classifier), card)
    assert len(version) == 12
    assert int(version, 16) >= 0


def test_the_version_stays_when_only_the_description_changes(classifier: nn.Module, card: ModelCard) -> None:
    state = plain_state(classifier)
    described = replace(card, name="other", metrics={"accuracy": 1.0}, lineage={}, model_version="f" * 12)
    assert model_version(state, described) == model_version(dict(reversed(state.items())), card)


@pytest.mark.parametrize(
    "changed",
    [
        {"classes": ["bob", "ann", "cid"]},
        {"task": "segmentation"},
        {"architecture": "other"},
        {"preprocessing": Preprocessing(16, 24, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), resize="letterbox")},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_version_changes_with_how_the_model_is_used(changed: dict, classifier: nn.Module, card: ModelCard) -> None:
    state = plain_state(classifier)
    assert model_version(state, replace(card, **changed)) != model_version(state, card)


def test_the_version_changes_with_one_bit_of_one_weight(classifier: nn.Module, card: ModelCard) -> None:
    state = plain_state(classifier)
    before = model_version(state, card)
    state["6.bias"].view(torch.int32)[0] ^= 1
    assert model_version(state, card) != before


def test_safetensors_come_back_bit_for_bit_with_their_card(
    classifier: nn.Module, card: ModelCard, tmp_path: Path
) -> None:
    state = plain_state(classifier.to(memory_format=torch.channels_last))
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(state, card))
    loaded, metadata = load_safetensors(path)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert metadata == {STAMP: card.to_json()}


def test_tied_weights_are_saved_apart(card: ModelCard) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert safetensors_bytes(plain_state(model), card)


@pytest.mark.parametrize("content", [b"", b"junk", b"\x10\x00\x00\x00\x00\x00\x00\x00{"])
def test_a_file_that_is_not_safetensors_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(VisageError, match=r"model\.safetensors: not a readable safetensors"):
        load_safetensors(path)
    with pytest.raises(VisageError, match="missing"):
        load_safetensors(tmp_path / "missing")
