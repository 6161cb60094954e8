"""The hair networks: one contract for all, on contexts that really are the pretrained encoder."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hair.segmenter_toy import encoder
from visage.errors import ConfigError, MissingWeightsError
from visage.export.weights import write_safetensors
from visage.features import encoders
from visage.features.pyramid import PRIOR, PYRAMID, Pyramid
from visage.hair.bisenet import SegmenterOutput
from visage.hair.config import ARCHITECTURES
from visage.hair.context import build_context, load_encoder
from visage.hair.networks import KINDS, build, context_name
from visage.training.freeze import count_parameters, freeze

ARCHS = sorted(KINDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder(tmp_path_factory.mktemp("pretrained") / "encoder")


@pytest.fixture(scope="module")
def networks(folder: Path) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {arch: build(arch, folder) for arch in ARCHS}


def test_every_architecture_of_the_configuration_is_there() -> None:
    assert set(KINDS) == set(ARCHITECTURES)


@pytest.mark.parametrize("arch", ARCHS)
@settings(max_examples=3, deadline=None)
@given(height=st.integers(1, 4), width=st.integers(1, 4))
def test_two_logits_for_every_pixel_at_any_size(
    networks: dict[str, nn.Module], arch: str, height: int, width: int
) -> None:
    images = torch.randn(1, 3, 32 * height, 32 * width)
    with torch.inference_mode():
        logits = networks[arch].eval()(images)
    assert logits.shape == (1, 2, 32 * height, 32 * width)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("arch", ARCHS)
def test_training_adds_heads_whose_cells_divide_the_picture(networks: dict[str, nn.Module], arch: str) -> None:
    output = networks[arch].train()(torch.randn(2, 3, 64, 96))
    assert isinstance(output, SegmenterOutput)
    assert output.logits.shape == (2, 2, 64, 96)
    sides = [*output.coarse, *([] if output.detail is None else [output.detail])]
    assert sides
    for logits in sides:
        assert 64 % logits.shape[2] == 96 % logits.shape[3] == 0
        assert 64 // logits.shape[2] == 96 // logits.shape[3]


def test_only_the_matting_head_answers_for_edges(networks: dict[str, nn.Module]) -> None:
    for arch, network in networks.items():
        assert (network.train()(torch.randn(2, 3, 64, 64)).detail is not None) == arch.startswith("modnet")


@pytest.mark.parametrize("arch", ARCHS)
def test_a_traced_network_answers_at_other_sizes(networks: dict[str, nn.Module], arch: str) -> None:
    network = networks[arch].eval()
    traced = torch.jit.trace(network, torch.randn(1, 3, 64, 64), check_trace=False)
    images = torch.randn(2, 3, 96, 32)
    with torch.inference_mode():
        torch.testing.assert_close(traced(images), network(images))


@pytest.mark.parametrize("arch", ARCHS)
def test_a_new_network_expects_little_hair(networks: dict[str, nn.Module], arch: str) -> None:
    with torch.inference_mode():
        alpha = networks[arch].eval()(torch.randn(2, 3, 64, 64)).softmax(1)[:, 1]
    assert alpha.mean().item() == pytest.approx(PRIOR, abs=0.12)


@pytest.mark.parametrize(("arch", "least", "most"), [
    ("bisenet_mobilenet", 0.7e6, 1.1e6), ("bisenet_mobilenet_whole", 0.7e6, 1.1e6),
    ("modnet_mobilenet", 0.7e6, 1.1e6), ("bisenet_resnet18", 11e6, 12e6),
])  # fmt: skip
def test_sizes(networks: dict[str, nn.Module], arch: str, least: float, most: float) -> None:
    assert least < count_parameters(networks[arch])[0] < most


def test_the_whole_picture_is_what_its_context_sees(networks: dict[str, nn.Module]) -> None:
    seen = {}
    for arch in ("bisenet_mobilenet", "bisenet_mobilenet_whole"):
        context = networks[arch].get_submodule("context")
        with context.register_forward_pre_hook(lambda _, given, arch=arch: seen.update({arch: given[0].shape[2:]})):
            networks[arch].eval()(torch.randn(1, 3, 64, 96))
    assert seen == {"bisenet_mobilenet": (32, 48), "bisenet_mobilenet_whole": (64, 96)}


@pytest.mark.parametrize("name", [*encoders.ARCHITECTURES, "resnet18"])
def test_contexts_have_the_strides_and_channels_they_say(name: str) -> None:
    context = build_context(name).eval()
    with torch.inference_mode():
        features = context(torch.randn(1, 3, 64, 96))
    sizes = [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(context.channels, encoders.STRIDES, strict=True)
    ]
    assert [tuple(value.shape[1:]) for value in features] == sizes


@pytest.mark.parametrize("arch", encoders.ARCHITECTURES)
def test_the_context_computes_what_the_encoder_does(tmp_path: Path, arch: str) -> None:
    folder = encoder(tmp_path / "encoder", arch)
    context = build_context(context_name("bisenet_mobilenet", folder))
    load_encoder(context, folder)
    whole = encoders.build(arch, 2)
    path = folder / "encoder.safetensors"
    encoders.load_encoder_state(whole, encoders.file_state(str(path), "x"), str(path))
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        value = images
        for block in list(whole.eval().get_submodule("features"))[: encoders.ARCHITECTURES[arch].ends[-1]]:
            value = block(value)
        torch.testing.assert_close(context.eval()(images)[-1], value)


def test_resnets_weights_come_from_a_local_file(tmp_path: Path, folder: Path) -> None:
    from torchvision import models

    given_weights = models.resnet18(weights=None)
    torch.save(given_weights.state_dict(), tmp_path / "resnet18.pth")
    network = build("bisenet_resnet18", folder, tmp_path / "resnet18.pth")
    assert torch.equal(network.context.layer4[1].conv2.weight, given_weights.layer4[1].conv2.weight)
    torch.save(models.resnet34(weights=None).layer1.state_dict(), tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="are not this context's"):
        build("bisenet_resnet18", folder, tmp_path / "other.pth")


def test_a_missing_or_foreign_encoder_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="run pretrain_encoder first"):
        build("bisenet_mobilenet", tmp_path)
    folder = encoder(tmp_path / "encoder", "efficientnet_b0")
    (folder / "encoder.json").write_text('{"arch": "mobilenet_v3_small"}')
    with pytest.raises(ConfigError, match="the first is"):
        build("bisenet_mobilenet", folder)
    (folder / "encoder.json").write_text('{"arch": "vgg"}')
    with pytest.raises(ConfigError, match="pretrain.arch=vgg"):
        build("bisenet_mobilenet", folder)


def test_the_pyramid_comes_from_pretraining_where_there_is_one(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "encoder")
    given_pyramid = Pyramid(encoders.ARCHITECTURES["mobilenet_v3_small"].channels)
    write_safetensors(folder / PYRAMID, given_pyramid.state_dict())
    network = build("bisenet_mobilenet", folder)
    for name, value in network.get_submodule("pyramid").state_dict().items():
        assert torch.equal(value, given_pyramid.state_dict()[name]), name
    write_safetensors(folder / PYRAMID, Pyramid(encoders.ARCHITECTURES["efficientnet_b0"].channels).state_dict())
    with pytest.raises(ConfigError, match="pyramid.safetensors"):
        build("bisenet_mobilenet", folder)
    (folder / PYRAMID).unlink()
    build("bisenet_mobilenet", folder)


@pytest.mark.parametrize("arch", ARCHS)
def test_a_frozen_context_stays_as_it_is_and_the_rest_learns(folder: Path, arch: str) -> None:
    network = build(arch, folder)
    freeze([network.get_submodule("context")])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    output = network.train()(torch.randn(2, 3, 64, 64))
    sides = [*output.coarse, *([] if output.detail is None else [output.detail])]
    sum(logits.square().mean() for logits in (output.logits, *sides)).backward()
    felt = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert felt == {name for name, _ in network.named_parameters() if not name.startswith("context.")}
    # The running statistics of the batch norms are part of what must not move.
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items() if name.startswith("context."))
    assert any(not torch.equal(after[name], value) for name, value in before.items() if "running_mean" in name)
