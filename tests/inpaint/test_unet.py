"""The UNet of nine channels: widened without a difference, SDXL's to the last name, read from every layout, adapted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

from inpaint.tiny import inpainter, noise
from visage.errors import ConfigError, DataError, MissingWeightsError
from visage.export.weights import load_safetensors, write_safetensors
from visage.inpaint.conditions import Told
from visage.inpaint.inpainter_net import InpainterNetwork
from visage.inpaint.latents import stride
from visage.inpaint.unet import (
    CHANNELS,
    SDXL,
    add_lora,
    build_unet,
    hold_frozen,
    load_original,
    merge_lora,
    open_unet,
    widen,
)

CROSS, POOLED, SIDE = 16, 16, 8
WEIGHTS = "diffusion_pytorch_model.safetensors"
ORIGINAL = "model.diffusion_model."
# unet/config.json of stabilityai/stable-diffusion-xl-base-1.0.
PUBLISHED: dict[str, Any] = {
    "act_fn": "silu", "addition_embed_type": "text_time", "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": 256, "attention_head_dim": [5, 10, 20], "block_out_channels": [320, 640, 1280],
    "center_input_sample": False, "class_embed_type": None, "class_embeddings_concat": False, "conv_in_kernel": 3,
    "conv_out_kernel": 3, "cross_attention_dim": 2048, "cross_attention_norm": None,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"], "downsample_padding": 1,
    "dual_cross_attention": False, "encoder_hid_dim": None, "encoder_hid_dim_type": None, "flip_sin_to_cos": True,
    "freq_shift": 0, "in_channels": 4, "layers_per_block": 2, "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1, "mid_block_type": "UNetMidBlock2DCrossAttn", "norm_eps": 1e-05, "norm_num_groups": 32,
    "num_attention_heads": None, "num_class_embeds": None, "only_cross_attention": False, "out_channels": 4,
    "projection_class_embeddings_input_dim": 2816, "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False, "resnet_time_scale_shift": "default", "sample_size": 128,
    "time_cond_proj_dim": None, "time_embedding_act_fn": None, "time_embedding_dim": None,
    "time_embedding_type": "positional", "timestep_post_act": None, "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "upcast_attention": None,
    "use_linear_projection": True,
}  # fmt: skip
# vae/config.json of the same.
PUBLISHED_VAE: dict[str, Any] = {
    "act_fn": "silu", "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4,
    "force_upcast": True, "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32,
    "out_channels": 3, "sample_size": 1024, "scaling_factor": 0.13025, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
SMALL: dict[str, Any] = {
    **SDXL, "sample_size": SIDE, "block_out_channels": (32, 32, 64), "attention_head_dim": (1, 2, 4),
    "transformer_layers_per_block": (1, 1, 2), "cross_attention_dim": CROSS, "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": POOLED + 48,
}  # fmt: skip


def small(channels: int = CHANNELS, seed: int = 0, **changes: Any) -> Any:
    """SDXL's shape in small; every bias differs from 0."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(**{**SMALL, "in_channels": channels, **changes}).eval()
        nn.init.normal_(unet.conv_in.bias)
    return unet


@torch.inference_mode()
def ask(unet: Any, latents: Tensor) -> Tensor:
    """Its answer at several times."""
    count = len(latents)
    added = {"text_embeds": noise(count, POOLED, seed=2), "time_ids": torch.full((count, 6), 64.0)}
    times = torch.linspace(1, 999, count).long()
    return unet(latents, times, noise(count, 5, CROSS, seed=1), added_cond_kwargs=added).sample


def original_name(name: str, layers: int) -> str:
    """The name of a tensor in the original layout of SDXL, as diffusers' conversion script documents it."""
    outer = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in":
             "input_blocks.0.0", "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
             "conv_norm_out": "out.0", "conv_out": "out.2"}  # fmt: skip
    inner = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
             "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}  # fmt: skip
    stem, _, last = name.rpartition(".")
    if stem in outer:
        return f"{ORIGINAL}{outer[stem]}.{last}"
    middle = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name)
    if middle:
        kind, index, rest = middle.groups()
        place = f"middle_block.{1 if kind == 'attentions' else 2 * int(index)}"
    else:
        found = re.fullmatch(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", name)
        assert found, name
        side, block, kind, index, rest = found.groups()
        if kind == "downsamplers":
            return f"{ORIGINAL}input_blocks.{(int(block) + 1) * (layers + 1)}.0.op.{last}"
        if kind == "upsamplers":
            return f"{ORIGINAL}output_blocks.{int(block) * (layers + 1) + layers}.2.conv.{last}"
        number = int(block) * (layers + 1) + int(index) + (side == "down")
        place = f"{'input' if side == 'down' else 'output'}_blocks.{number}.{int(kind == 'attentions')}"
    if kind == "resnets":
        part, _, last = rest.rpartition(".")
        rest = f"{inner[part]}.{last}"
    return f"{ORIGINAL}{place}.{rest}"


def original(unet: Any) -> dict[str, Tensor]:
    """A checkpoint of the original layout, with a tensor of the text encoder and one of the autoencoder."""
    layers = unet.config.layers_per_block
    state = {original_name(name, layers): value for name, value in unet.state_dict().items()}
    assert len(state) == len(unet.state_dict())
    others = ("first_stage_model.encoder.conv_in.weight", "conditioner.embedders.0.logit_scale")
    return state | {name: torch.zeros(2) for name in others}


def test_a_widened_unet_answers_as_before_whatever_the_new_channels_hold() -> None:
    four, latents = small(4), noise(3, 4, SIDE, SIDE, seed=5)
    before, weight, bias = ask(four, latents), four.conv_in.weight.clone(), four.conv_in.bias.clone()
    nine = widen(four)
    assert nine is four
    assert nine.config.in_channels == nine.conv_in.in_channels == CHANNELS
    assert torch.equal(nine.conv_in.weight[:, :4], weight)
    assert not nine.conv_in.weight[:, 4:].any()
    assert torch.equal(nine.conv_in.bias, bias)
    assert bias.abs().min() > 0
    for scale in (0.0, 1.0, 100.0):
        answer = ask(nine, torch.cat([latents, scale * noise(3, 5, SIDE, SIDE, seed=6)], 1))
        assert float((answer - before).abs().max()) == 0.0
    nine.conv_in.weight.requires_grad_()
    added = {"text_embeds": noise(1, POOLED), "time_ids": torch.ones(1, 6)}
    nine(noise(1, 9, SIDE, SIDE), 3, noise(1, 5, CROSS), added_cond_kwargs=added).sample.sum().backward()
    assert nine.conv_in.weight.grad[:, 4:].abs().sum() > 0  # and training can change that


def test_a_unet_of_nine_is_left_alone_and_other_counts_are_refused() -> None:
    nine = small()
    layer, weight = nine.conv_in, nine.conv_in.weight.clone()
    assert widen(nine).conv_in is layer
    assert torch.equal(layer.weight, weight)
    with pytest.raises(DataError, match=r"^inpainter\.path: a UNet of 8 input channels, where 4 or 9 can be$"):
        widen(small(8))


def test_sdxl_is_built_to_the_last_name() -> None:
    with torch.device("meta"):
        ours: Any = UNet2DConditionModel(**SDXL)
        theirs: Any = UNet2DConditionModel.from_config({**PUBLISHED, "in_channels": CHANNELS})
        base: Any = UNet2DConditionModel.from_config(PUBLISHED)
    shapes, wanted = ({name: value.shape for name, value in unet.state_dict().items()} for unet in (ours, theirs))
    assert shapes == wanted
    assert tuple(shapes["conv_in.weight"]) == (320, 9, 3, 3)
    assert sum(shape.numel() for shape in shapes.values()) == 2_567_463_684 + 320 * 5 * 9
    assert sum(value.numel() for value in base.state_dict().values()) == 2_567_463_684
    asked, published = (
        json.loads(json.dumps({name: value or None for name, value in unet.config.items() if name[0] != "_"}))
        for unet in (ours, theirs)
    )
    assert asked == published
    names = set(original(base))
    assert len(names) == 1680 + 2
    for known in (
        "input_blocks.8.1.transformer_blocks.9.attn2.to_k.weight", "input_blocks.3.0.op.weight",
        "middle_block.1.transformer_blocks.0.ff.net.0.proj.weight", "output_blocks.2.2.conv.weight",
        "output_blocks.5.1.proj_in.weight", "output_blocks.8.0.skip_connection.weight", "label_emb.0.0.weight",
    ):  # fmt: skip
        assert ORIGINAL + known in names


def test_sdxl_s_autoencoder_has_a_stride_of_8() -> None:
    with torch.device("meta"):
        vae: Any = AutoencoderKL.from_config(PUBLISHED_VAE)
        latents = vae.encode(torch.zeros(1, 3, 64, 64)).latent_dist.mode()
    assert stride(vae) == 8
    assert latents.shape == (1, 4, 8, 8)
    assert (vae.config.scaling_factor, vae.config.latents_mean) == (0.13025, None)


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_original_layout_loads_to_equal_weights(tmp_path: Path, channels: int, dtype: torch.dtype) -> None:
    unet = small(channels).to(dtype)
    write_safetensors(tmp_path / "sd_xl.safetensors", original(unet))
    loaded = load_original(tmp_path / "sd_xl.safetensors", SMALL)
    assert loaded.config.in_channels == channels
    state, wanted = loaded.state_dict(), unet.state_dict()
    assert state.keys() == wanted.keys()
    for name, value in state.items():
        assert value.dtype == torch.float32, name
        assert torch.equal(value, wanted[name].float()), name
    latents = noise(2, channels, SIDE, SIDE)
    assert torch.equal(ask(loaded, latents), ask(unet.float(), latents))
    assert all(weight.requires_grad for weight in widen(loaded).parameters())


def test_a_wrong_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.safetensors"
    state = original(small())
    without = {name: value for name, value in state.items() if "label_emb" not in name}
    narrow = state | {f"{ORIGINAL}out.2.bias": torch.zeros(3)}
    foreign = "no model.diffusion_model.input_blocks.0.0.weight in it: give SDXL's UNet in its original layout"
    for content, message in (
        ({"encoder.conv_in.weight": torch.zeros(2)}, foreign),
        (small().state_dict(), foreign),
        (without, "not of SDXL's architecture .*label_emb"),  # Stable Diffusion 1
        (narrow, "not of SDXL's architecture"),
        ({name: value for name, value in state.items() if "middle_block.0" not in name}, "not of SDXL's architecture"),
    ):
        write_safetensors(file, content)
        with pytest.raises(DataError, match=f"^.*x\\.safetensors: {message}.*$"):
            load_original(file, SMALL)
    write_safetensors(file, original(small()))
    with pytest.raises(DataError, match=r"^.*x\.safetensors: not of SDXL's architecture .*$"):  # it is smaller
        open_unet(inpainter(source="file", path=str(file)), CROSS, POOLED, SIDE)
    file.write_bytes(b"a text")
    with pytest.raises(ValueError, match=r"^.*x\.safetensors: not a readable safetensors file \(.*\)$"):
        open_unet(inpainter(source="file", path=str(file)), CROSS, POOLED, SIDE)


@pytest.mark.parametrize(("channels", "below"), [(4, "unet"), (9, "")])
def test_a_folder_of_diffusers_loads_with_nine_channels(tmp_path: Path, channels: int, below: str) -> None:
    unet, latents = small(channels), noise(2, 9, SIDE, SIDE)
    unet.save_pretrained(tmp_path / below)
    settings = inpainter(source="file", path=str(tmp_path))
    loaded = open_unet(settings, CROSS, POOLED, SIDE)
    assert loaded.config.in_channels == 9
    assert torch.equal(ask(loaded.eval(), latents), ask(unet, latents[:, :channels]))
    with pytest.raises(DataError, match=r"tokens of 16 and pooled prompts of 16 .* encoded to 32 and 16: set prompts"):
        open_unet(settings, 32, POOLED, SIDE)
    for name in (WEIGHTS, "config.json"):
        (tmp_path / below / name).unlink()
        pattern = rf"^.*{name} is not there: bring .*stable-diffusion-xl-base-1\.0 .*set inpainter\.path to its folder$"
        with pytest.raises(MissingWeightsError, match=pattern):
            open_unet(settings, CROSS, POOLED, SIDE)


def test_weights_of_another_unet_are_refused_and_never_left_random(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    state, _ = load_safetensors(tmp_path / WEIGHTS)
    for odd, faulty in {
        r"conv_in\.bias": {name: value for name, value in state.items() if name != "conv_in.bias"},
        "extra": state | {"extra": torch.zeros(1)},
        r"conv_in\.weight": state | {"conv_in.weight": torch.zeros(32, 4, 3, 3)},
    }.items():
        write_safetensors(tmp_path / WEIGHTS, faulty)
        with pytest.raises(DataError, match=rf"^inpainter\.path=.*first odd tensor: {odd}\): bring unet/ of .*$"):
            open_unet(inpainter(source="file", path=str(tmp_path)), CROSS, POOLED, SIDE)


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **options: object) -> None:
        assert options["subfolder"] == "unet"
        raise OSError("cannot connect\nmany\nlines")

    monkeypatch.setattr(UNet2DConditionModel, "from_pretrained", fail)
    pattern = r"^inpainter\.path=some/where: .*hub \(cannot connect\): bring .*set source=file and inpainter\.path .*$"
    with pytest.raises(MissingWeightsError, match=pattern):
        open_unet(inpainter(source="hub", path="some/where"), CROSS, POOLED, SIDE)


def test_a_new_one_is_of_sdxl_s_kind() -> None:
    unet = build_unet([32, 32, 64], 1, 2, 2, 16, CROSS, POOLED, SIDE)
    assert ask(unet, noise(2, 9, SIDE, SIDE)).shape == (2, 4, SIDE, SIDE)
    assert unet.config.projection_class_embeddings_input_dim == POOLED + 48
    heads = [module.heads for module in unet.modules() if hasattr(module, "heads")]
    assert set(heads) == {2, 4}  # of width 16
    for attention in (1, 2):
        lower = build_unet([32, 32, 64], 1, attention, 2, 16, CROSS, POOLED, SIDE)
        there = [hasattr(block, "attentions") for block in lower.down_blocks]
        assert there == [level >= 3 - attention for level in range(3)]
        assert [hasattr(block, "attentions") for block in lower.up_blocks] == there[::-1]
    for channels, attention in (([32, 40], 1), ([], 1), ([32, 32], 2), ([32, 40, 32], 2)):
        with pytest.raises(ConfigError, match=r"inpainter\.channels"):
            inpainter(channels=channels, attention=attention).check()
    inpainter(channels=[40, 32]).check()


def told(count: int, style: int = 10) -> Told:
    return Told(
        noise(count, 5, CROSS), noise(count, POOLED), noise(count, style), noise(count, 512), torch.ones(count, 3)
    )


def adapted() -> InpainterNetwork:
    """A network whose adapters say something; at the start they say 0."""
    with torch.random.fork_rng():
        torch.manual_seed(8)
        network = InpainterNetwork(small(), 10, 64)
        add_lora(network.unet, 4, 8)
        for name, weight in network.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(weight, std=0.05)
    return network.eval()


def test_lora_trains_adapters_and_conv_in_and_the_conditioner_alone() -> None:
    network = adapted()
    trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
    adapters = {name for name in trained if "lora_" in name}
    conditioner = {name for name, _ in network.named_parameters() if name.startswith("conditioner.")}
    assert trained == adapters | conditioner | {"unet.conv_in.weight", "unet.conv_in.bias"}
    kinds = {re.split(r"\.lora_", name)[0].rsplit("transformer_blocks.", 1)[1].split(".", 1)[1] for name in adapters}
    assert kinds == {f"attn{n}.to_{part}" for n in (1, 2) for part in ("k", "q", "v", "out.0")}
    unet = small()
    before = ask(unet, noise(2, 9, SIDE, SIDE))
    add_lora(unet, 4, 8)
    assert torch.equal(ask(unet, noise(2, 9, SIDE, SIDE)), before)  # it starts where it was


def test_merged_adapters_give_plain_names_and_the_same_answers() -> None:
    network, plain = adapted(), InpainterNetwork(small(), 10, 64).eval()
    given = (noise(2, 4, SIDE, SIDE), torch.tensor([10, 900]), torch.ones(2, 1, SIDE, SIDE), noise(2, 4, SIDE, SIDE))
    with torch.inference_mode():
        before = network(*given, told(2))
        plain.conditioner.load_state_dict(network.conditioner.state_dict())
        without = plain(*given, told(2))
    merge_lora(network.unet)
    with torch.inference_mode():
        after = network(*given, told(2))
    assert network.state_dict().keys() == plain.state_dict().keys()
    assert torch.allclose(after, before, atol=1e-5)
    assert float((before - without).abs().max()) > 1e-2  # the adapters did say something


def test_frozen_weights_are_held_in_half_and_what_trains_in_full() -> None:
    unet: Any = build_unet([32, 32], 1, 1, 1, 16, CROSS, POOLED, SIDE)
    add_lora(unet, 4, 4)
    hold_frozen(unet)
    kinds = {weight.requires_grad: weight.dtype for weight in unet.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    network = InpainterNetwork(unet, 8, SIDE * 4)
    told = Told(
        torch.randn(2, 5, CROSS), torch.randn(2, POOLED), torch.randn(2, 8), torch.randn(2, 512), torch.ones(2, 3)
    )
    latents = torch.randn(2, 4, SIDE, SIDE)
    with torch.autocast("cpu", torch.bfloat16):
        network(latents, torch.tensor([3, 9]), latents[:, :1], latents, told).float().square().mean().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in unet.conv_in.parameters())
