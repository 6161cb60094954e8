"""Encoders: whole or not at all, and never silently the wrong weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from visage.errors import ConfigError, MissingWeightsError, VisageError
from visage.features import encoders
from visage.features.config import ARCHITECTURE_NAMES


def test_an_encoder_survives_a_change_of_classes() -> None:
    source, target = encoders.build("mobilenet_v3_small", 7), encoders.build("mobilenet_v3_small", 3)
    encoders.load_encoder_state(target, encoders.encoder_state(source), "test")
    state = target.state_dict()
    assert all(torch.equal(state[name], value) for name, value in encoders.encoder_state(source).items())
    assert state["classifier.3.weight"].shape[0] == 3


@pytest.mark.parametrize("name", sorted(encoders.ARCHITECTURES))
def test_the_feature_width_is_what_the_last_layer_sees(name: str) -> None:
    model = encoders.build(name, 2)
    assert model.get_submodule(encoders.last_linear(model)).in_features == encoders.get_architecture(name).dim


def test_weights_of_another_architecture_are_refused_by_name() -> None:
    state = encoders.encoder_state(encoders.build("efficientnet_b0", 2))
    with pytest.raises(ConfigError, match="encoder.safetensors"):
        encoders.load_encoder_state(encoders.build("mobilenet_v3_small", 2), state, "encoder.safetensors")


def test_a_missing_tensor_is_refused() -> None:
    model = encoders.build("mobilenet_v3_small", 2)
    state = encoders.encoder_state(model)
    del state["features.0.0.weight"]
    with pytest.raises(ConfigError, match=r"features\.0\.0\.weight"):
        encoders.load_encoder_state(model, state, "here")


def test_an_unknown_architecture_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="efficientnet_b0, mobilenet_v3_small"):
        encoders.build("resnet50", 2)


def test_weights_come_from_either_kind_of_file(tmp_path: Path) -> None:
    state = encoders.encoder_state(encoders.build("mobilenet_v3_small", 2))
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"model": state}, tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        assert encoders.file_state(str(tmp_path / name), "key").keys() == state.keys()


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="finetune.weights_path"):
        encoders.file_state(None, "finetune.weights_path")
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(VisageError, match="a.safetensors"):
        encoders.file_state(str(tmp_path / "a.safetensors"), "key")


def test_weights_that_cannot_be_downloaded_say_what_to_put_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingWeightsError, match=r"mobilenet_v3_small.*\.pth"):
        encoders.imagenet_state("mobilenet_v3_small")


def test_batch_statistics_move_within_a_short_training() -> None:
    norms = [m for m in encoders.build("mobilenet_v3_small", 2).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {encoders.BATCH_NORM_MOMENTUM}


def test_the_configuration_knows_the_registered_architectures() -> None:
    assert set(ARCHITECTURE_NAMES) == encoders.ARCHITECTURES.keys()
