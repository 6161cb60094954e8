"""ControlNet and IP-Adapter of diffusers on the nine-channel UNet, over tiny random ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from inpaint.export_toy import UNET
from inpaint.tiny import SIZE, WIDTH
from visage.errors import DataError, MissingWeightsError, VisageError
from visage.inpaint.conditions import Told, nothing
from visage.inpaint.hooks import Adapter, Control, edges, hooked, open_adapter, open_control
from visage.inpaint.inpainter_net import InpainterNetwork

STYLE, CROSS, LATENT = 10, 2 * WIDTH, SIZE // 2
PICTURE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def network() -> InpainterNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return InpainterNetwork(UNet2DConditionModel(**UNET), STYLE, SIZE).eval().requires_grad_(False)


@pytest.fixture
def given() -> tuple[Any, ...]:
    """What a network of two pictures is called with."""
    told = Told(noise(2, 5, CROSS), noise(2, CROSS, seed=1), noise(2, STYLE, seed=2), noise(2, 512, seed=3),
                torch.ones(2, 3))  # fmt: skip
    return (noise(2, 4, LATENT, LATENT), torch.tensor([700, 700]), torch.ones(2, 1, LATENT, LATENT),
            noise(2, 4, LATENT, LATENT, seed=4), told)  # fmt: skip


def controlnet(folder: Path, zero: bool = True, **changes: Any) -> Path:
    """One of a UNet of four channels, as published ones are; all that it says passes layers that begin as 0."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        four = UNet2DConditionModel(**{**UNET, "in_channels": 4, **changes})
        made = ControlNetModel.from_unet(four, conditioning_embedding_out_channels=(8, 16))
        if not zero:
            for layer in (
                *made.controlnet_down_blocks,
                made.controlnet_mid_block,
                made.controlnet_cond_embedding.conv_out,
            ):
                torch.nn.init.normal_(layer.weight, std=0.2)
    made.save_pretrained(folder)
    return folder


def vision(folder: Path, projection: int = 12) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
                                  image_size=16, patch_size=8, projection_dim=projection)  # fmt: skip
        CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def adapter(file: Path, unet: Any, plus: bool = False, cross: int = CROSS, width: int = 12) -> Path:
    """In the published files' layout."""
    tensors = {f"ip_adapter.{1 + 2 * number}.to_{kind}_ip.weight": noise(32, cross, seed=number)
               for number in range(sum("attn2" in name for name in unet.attn_processors)) for kind in "kv"}  # fmt: skip
    if plus:
        inner, hidden = 64, 20
        shapes: dict[str, tuple[int, ...]]
        layer = {"0.norm1.weight": (hidden,), "0.norm1.bias": (hidden,), "0.norm2.weight": (hidden,),
                 "0.norm2.bias": (hidden,), "0.to_q.weight": (inner, hidden), "0.to_kv.weight": (2 * inner, hidden),
                 "0.to_out.weight": (hidden, inner), "1.0.weight": (hidden,), "1.0.bias": (hidden,),
                 "1.1.weight": (4 * hidden, hidden), "1.3.weight": (hidden, 4 * hidden)}  # fmt: skip
        shapes = {"latents": (1, 3, hidden), "proj_in.weight": (hidden, 16), "proj_in.bias": (hidden,),
                  "proj_out.weight": (cross, hidden), "proj_out.bias": (cross,), "norm_out.weight": (cross,),
                  "norm_out.bias": (cross,)}  # fmt: skip
        shapes |= {f"layers.{number}.{name}": shape for number in range(4) for name, shape in layer.items()}
    else:
        shapes = {"proj.weight": (4 * cross, width), "proj.bias": (4 * cross,), "norm.weight": (cross,),
                  "norm.bias": (cross,)}  # fmt: skip
    tensors |= {f"image_proj.{name}": noise(*shape, seed=len(name)) for name, shape in shapes.items()}
    save_file(tensors, file)
    return file


def answer(network: InpainterNetwork, given: tuple[Any, ...], control: Control | None = None,
           adapter: Adapter | None = None, reference: np.ndarray = PICTURE) -> Tensor:  # fmt: skip
    shown = None if control is None else np.ascontiguousarray(PICTURE[: control.side(LATENT), : control.side(LATENT)])
    with torch.inference_mode(), hooked(network, control, shown, adapter, reference) as made:
        return made(*given)


def test_a_controlnet_that_says_nothing_changes_nothing(
    network: InpainterNetwork, given: tuple[Any, ...], tmp_path: Path
) -> None:
    plain = answer(network, given)
    control = open_control(str(controlnet(tmp_path / "zero")), network.unet)
    assert control.side(LATENT) == 2 * LATENT and control.network.config.in_channels == 4
    torch.testing.assert_close(answer(network, given, control), plain, rtol=0, atol=1e-6)


def test_a_controlnet_changes_the_answer_as_much_as_it_weighs(
    network: InpainterNetwork, given: tuple[Any, ...], tmp_path: Path
) -> None:
    plain, folder = answer(network, given), str(controlnet(tmp_path / "trained", zero=False))
    changes = [float((answer(network, given, open_control(folder, network.unet, scale)) - plain).abs().mean())
               for scale in (0.0, 0.1, 1.0)]  # fmt: skip
    assert changes[0] < 1e-6 < changes[1] < changes[2]
    assert torch.equal(answer(network, given), plain), "the network itself is as it was"


def test_a_controlnet_that_does_not_fit_is_one_line(network: InpainterNetwork, tmp_path: Path) -> None:
    folders = {
        "in_channels is 9": controlnet(tmp_path / "nine", in_channels=9),
        "cross_attention_dim is 16, the UNet needs 32": controlnet(tmp_path / "cross", cross_attention_dim=16),
        "block_out_channels is": controlnet(tmp_path / "wide", block_out_channels=(32, 64)),
        "layers_per_block is 2": controlnet(tmp_path / "deep", layers_per_block=2),
        "no config.json there": tmp_path / "gone",
    }
    cut = controlnet(tmp_path / "cut")
    (cut / "diffusion_pytorch_model.safetensors").write_bytes(b"cut")
    for reason, folder in {**folders, "controlnet=.*cut": cut}.items():
        with pytest.raises(VisageError, match=reason) as error:
            open_control(str(folder), network.unet)
        assert "\n" not in str(error.value) and str(folder) in str(error.value)


@pytest.mark.parametrize("plus", [False, True])
def test_an_adapter_tells_of_the_reference_and_leaves_the_unet_as_it_was(
    plus: bool, network: InpainterNetwork, given: tuple[Any, ...], tmp_path: Path
) -> None:
    plain, names = answer(network, given), set(network.unet.state_dict())
    file, encoder = adapter(tmp_path / "ip.safetensors", network.unet, plus), vision(tmp_path / "vision")
    opened = open_adapter(file, encoder, network.unet)
    other = np.random.default_rng(1).integers(0, 256, (40, 30, 3), np.uint8)
    one, two = answer(network, given, adapter=opened), answer(network, given, adapter=opened, reference=other)
    assert not torch.allclose(one, plain, atol=1e-4) and not torch.allclose(one, two, atol=1e-5)
    silent = answer(network, given, adapter=Adapter(opened.tensors, opened.encoder, 0.0))
    torch.testing.assert_close(silent, plain, rtol=0, atol=1e-5)
    assert torch.equal(answer(network, given), plain) and set(network.unet.state_dict()) == names


def test_told_nothing_is_shown_nothing(network: InpainterNetwork, given: tuple[Any, ...], tmp_path: Path) -> None:
    file, encoder = adapter(tmp_path / "ip.safetensors", network.unet), vision(tmp_path / "vision")
    opened, other = open_adapter(file, encoder, network.unet), 255 - PICTURE
    away = (*given[:4], nothing(given[4]))
    assert torch.equal(answer(network, away, adapter=opened), answer(network, away, adapter=opened, reference=other))


def test_both_at_once(network: InpainterNetwork, given: tuple[Any, ...], tmp_path: Path) -> None:
    control = open_control(str(controlnet(tmp_path / "control", zero=False)), network.unet)
    opened = open_adapter(adapter(tmp_path / "ip.safetensors", network.unet), vision(tmp_path / "vision"), network.unet)
    both = answer(network, given, control, opened)
    for alone in (answer(network, given, control), answer(network, given, adapter=opened)):
        assert not torch.allclose(both, alone, atol=1e-5)


def test_an_adapter_that_does_not_fit_is_one_line(network: InpainterNetwork, tmp_path: Path) -> None:
    unet, encoder = network.unet, vision(tmp_path / "vision")
    plain = adapter(tmp_path / "plain.safetensors", unet)
    narrow = adapter(tmp_path / "narrow.safetensors", unet, cross=16)
    save_file({"image_proj.norm.weight": noise(3), "ip_adapter.1": noise(2)}, tmp_path / "faceid.safetensors")
    fewer = {name: tensor for name, tensor in load_file(plain).items() if not name.startswith("ip_adapter.3.")}
    save_file(fewer, tmp_path / "few.safetensors")
    cases: list[tuple[Path, Path, str]] = [
        (tmp_path / "gone.safetensors", encoder, "is not there"),
        (narrow, encoder, "its tokens have 16 numbers, the UNet's 32"),
        (tmp_path / "faceid.safetensors", encoder, "no IP-Adapter of whole pictures"),
        (tmp_path / "few.safetensors", encoder, "does not fit the UNet"),
        (plain, vision(tmp_path / "wide", 20), "gives 20 numbers"),
        (plain, tmp_path / "nothing", "config.json is not there"),
    ]
    for file, folder, reason in cases:
        with pytest.raises((DataError, MissingWeightsError), match=reason) as error:
            open_adapter(file, folder, unet)
        assert "\n" not in str(error.value)
    assert unet.encoder_hid_proj is None and not any("ip" in name for name in unet.state_dict())


def test_edges_are_of_what_stays() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, 8:] = 255
    paint = np.zeros((32, 32), np.uint8)
    paint[:16] = 1
    found = edges(image, paint)
    assert found.shape == (32, 32, 3) and set(np.unique(found)) == {0, 255}
    assert not found[:16].any() and found[20:, 6:10].any()
