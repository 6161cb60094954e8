"""timm encoders: the same outputs as torchvision's, and never silently the wrong weights."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from timm import create_model
from torch import nn

from features.random_networks import randomise
from visage.errors import ConfigError, DataError, MissingWeightsError
from visage.features import encoders
from visage.features.config import Features
from visage.features.timm_encoders import TORCHVISION_OF, build_encoder, encoder_state, feature_width, load_encoder

WIDTHS = {"mobilenetv3_small_100": 1024, "efficientnet_b0": 1280}


def settings(**changes: object) -> Features:
    values = {"encoder": "mobilenetv3_small_100", "weights": "encoder", "weights_path": None, "global_pool": "avg"}
    return Features(**(values | changes))


def pretrained(folder: Path, arch: str = "mobilenet_v3_small") -> nn.Module:
    """What pretrain_encoder writes, of a network whose variances are partly as small as torchvision's epsilon."""
    model = randomise(encoders.build(arch, 2))
    save_file(encoders.encoder_state(model), folder / "encoder.safetensors")
    (folder / "encoder.json").write_text(json.dumps({"arch": arch}))
    return model


@pytest.fixture
def weights_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict], str]:
    """Writes a state into the watched folder, and gives its path."""
    monkeypatch.chdir(tmp_path)
    encoders.WEIGHTS_FOLDER.mkdir(parents=True)

    def write(state: dict) -> str:
        path = encoders.WEIGHTS_FOLDER / "a.safetensors"
        save_file({name: value.contiguous() for name, value in state.items()}, path)
        return str(path)

    return write


@pytest.mark.parametrize(("name", "arch"), TORCHVISION_OF.items())
def test_a_converted_encoder_gives_what_torchvisions_last_layer_sees(name: str, arch: str, tmp_path: Path) -> None:
    original = pretrained(tmp_path, arch)
    encoder = build_encoder(name, "avg").eval()
    encoder.load_state_dict(encoder_state(settings(encoder=name), tmp_path))
    seen = []
    layer = original.get_submodule(encoders.last_linear(original))
    layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    images = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        original(images)
        features = encoder(images)
    assert features.shape == (2, WIDTHS[name])
    assert float((features - seen[0]).norm() / seen[0].norm()) < 1e-4
    assert float((features[0] - features[1]).norm() / features[0].norm()) > 1e-2


@pytest.mark.parametrize("name", WIDTHS)
def test_the_width_is_known_without_weights(name: str) -> None:
    assert feature_width(build_encoder(name, "max"), 64) == WIDTHS[name]


def test_a_size_that_the_encoder_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"features\.size=64.*224"):
        feature_width(build_encoder("vit_tiny_patch16_224", "avg"), 64)


def test_an_unknown_encoder_is_told_its_nearest_names() -> None:
    with pytest.raises(ConfigError, match=r"features\.encoder=mobilenet_v3_small: .*mobilenetv3_small_100"):
        build_encoder("mobilenet_v3_small", "avg")
    with pytest.raises(ConfigError, match=r"features\.encoder=resnet18\.mine: "):
        build_encoder("resnet18.mine", "avg")


def test_a_pooling_that_the_encoder_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"features\.global_pool=max: coat_lite_mini"):
        build_encoder("coat_lite_mini", "max")


def test_a_pretrained_encoder_of_another_architecture_says_what_goes_together(tmp_path: Path) -> None:
    pretrained(tmp_path)
    for name in ("efficientnet_b0", "resnet18"):
        with pytest.raises(ConfigError, match=r"arch=mobilenet_v3_small with features\.encoder=mobilenetv3_small_100;"):
            encoder_state(settings(encoder=name), tmp_path)


def test_a_missing_pretrained_encoder_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="run pretrain_encoder"):
        encoder_state(settings(), tmp_path)


def test_hub_weights_without_a_network_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise FileNotFoundError("cannot find the file in the cache\nsecond line")

    monkeypatch.setattr("timm.models._hub.hf_hub_download", refuse)
    with pytest.raises(MissingWeightsError, match=r"features\.weights=file") as caught:
        encoder_state(settings(weights="imagenet"), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_model_without_hub_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="No pretrained weights exist"):
        encoder_state(settings(encoder="mobilenetv2_035", weights="imagenet"), tmp_path)


def test_a_file_with_timms_names_loads_without_its_classifier(weights_file: Callable, tmp_path: Path) -> None:
    full = create_model("mobilenetv3_small_100", num_classes=5).half()
    state = {name: value for name, value in full.state_dict().items() if not name.endswith("num_batches_tracked")}
    found = encoder_state(settings(weights="file", weights_path=weights_file(state)), tmp_path)
    assert not any(name.startswith("classifier") for name in found)
    assert torch.equal(found["conv_head.weight"], state["conv_head.weight"].float())
    build_encoder("mobilenetv3_small_100", "avg").load_state_dict(found)


def test_a_file_with_torchvisions_names_is_converted(weights_file: Callable, tmp_path: Path) -> None:
    model = pretrained(tmp_path)
    found = encoder_state(settings(weights="file", weights_path=weights_file(model.state_dict())), tmp_path)
    expected = encoder_state(settings(), tmp_path)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_file_of_another_network_names_the_first_wrong_tensor(weights_file: Callable, tmp_path: Path) -> None:
    wide = weights_file(create_model("mobilenetv3_small_075").state_dict())
    with pytest.raises(ConfigError, match=r"weights_path=.*blocks\.\d.*wanted \[.*found \["):
        encoder_state(settings(weights="file", weights_path=wide), tmp_path)
    theirs = weights_file(encoders.build("efficientnet_b0", 2).state_dict())
    with pytest.raises(ConfigError, match="the first wrong tensor is features"):
        encoder_state(settings(weights="file", weights_path=theirs), tmp_path)
    with pytest.raises(ConfigError, match=r"do not fit features\.encoder=resnet18"):
        encoder_state(settings(encoder="resnet18", weights="file", weights_path=theirs), tmp_path)


def test_a_file_outside_the_watched_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"features\.weights_path="):
        encoder_state(settings(weights="file", weights_path=str(tmp_path / "a.pth")), tmp_path)


def test_an_encoder_is_loaded_in_eval_mode_as_it_was_saved(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run extract_features"):
        load_encoder(tmp_path)
    state = build_encoder("mobilenetv3_small_100", "max").state_dict()
    save_file(state, tmp_path / "encoder.safetensors")
    (tmp_path / "encoder.json").write_text(json.dumps({"encoder": "mobilenetv3_small_100", "global_pool": "max"}))
    model = load_encoder(tmp_path)
    assert not model.training
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert type(model.global_pool.pool).__name__ == "AdaptiveMaxPool2d"
