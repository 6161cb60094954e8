"""The classifier: what is frozen, and which weights it starts from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from faces.small import settings
from visage.errors import ConfigError, MissingWeightsError
from visage.faces.model import build_classifier, frozen_layers
from visage.features import encoders
from visage.training.freeze import count_parameters


@pytest.mark.parametrize("arch", sorted(encoders.ARCHITECTURES))
@pytest.mark.parametrize("ratio", [0.0, 0.7, 0.9, 1.0])
def test_the_classifier_trains_whatever_is_frozen(arch: str, ratio: float) -> None:
    model = build_classifier(settings(arch=arch, freeze_ratio=ratio), "", 5)
    assert all(p.requires_grad for p in model.get_submodule("classifier").parameters())
    layers = [m for m in model.get_submodule("features").modules() if list(m.parameters(recurse=False))]
    frozen = [m for m in layers if not any(p.requires_grad for p in m.parameters(recurse=False))]
    assert len(frozen) == pytest.approx(ratio * len(layers), abs=1)
    assert frozen == layers[: len(frozen)], "the frozen layers are not those of the input side"
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 5)


def test_frozen_norms_stay_in_evaluation_mode() -> None:
    model = build_classifier(settings(freeze_ratio=0.7), "", 3).train()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert [n.training for n in norms] == [n.weight.requires_grad for n in norms]
    assert {n.training for n in norms} == {True, False}


def test_a_number_of_blocks_replaces_the_ratio() -> None:
    model = build_classifier(settings(arch="efficientnet_b0", unfreeze_last_blocks=4, freeze_ratio=0.0), "", 3)
    blocks = list(model.get_submodule("features").children())
    assert [any(p.requires_grad for p in block.parameters()) for block in blocks] == [False] * 5 + [True] * 4
    everything, trained = count_parameters(model)
    assert 0.9 < trained / everything < 1


def test_the_classifier_is_replaced_and_the_rest_loaded(tmp_path: Path) -> None:
    state = encoders.encoder_state(encoders.build("mobilenet_v3_small", 9))
    save_file(state, tmp_path / "encoder.safetensors")
    for changes in ({"weights": "encoder"}, {"weights": "file", "weights_path": str(tmp_path / "encoder.safetensors")}):
        model = build_classifier(settings(**changes), str(tmp_path / "encoder.safetensors"), 4)
        assert torch.equal(model.state_dict()["features.5.block.0.0.weight"], state["features.5.block.0.0.weight"])
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 4)


@pytest.mark.parametrize(
    ("changes", "error", "hint"),
    [
        ({"weights": "encoder"}, MissingWeightsError, "nowhere"),
        ({"weights": "file"}, MissingWeightsError, "weights_path"),
        ({"unfreeze_last_blocks": 99}, ConfigError, "13 blocks"),
        ({"arch": "vgg"}, ConfigError, "mobilenet_v3_small"),
    ],
)
def test_a_choice_that_cannot_be_honoured_is_one_line(
    changes: dict[str, Any], error: type[Exception], hint: str
) -> None:
    with pytest.raises(error, match=hint) as caught:
        build_classifier(settings(**changes), "nowhere", 3)
    assert "\n" not in str(caught.value)


def test_layers_are_counted_without_building_a_classifier_twice() -> None:
    model = encoders.build("mobilenet_v3_small", 2)
    assert frozen_layers(model, settings(freeze_ratio=0.0)) == []
