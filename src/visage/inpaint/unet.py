"""The UNet of nine input channels: latents being painted, the mask, and latents of what is already there.

A UNet of four channels (SDXL) becomes one of nine with new weights of 0 and its bias, so that it answers as before
until training changes it; SDXL-inpainting's has nine already.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from visage.errors import ConfigError, DataError, MissingWeightsError
from visage.inpaint.diffusion_config import Inpainter
from visage.inpaint.latents import first_line, load_strictly

CHANNELS = 9
LATENTS = 4
TIME_IDS, TIME_WIDTH = 6, 8
GROUPS = 8  # of channels, of a small network's norms
TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]
PATH = "inpainter.path"
WANTED = "unet/ of stabilityai/stable-diffusion-xl-base-1.0 or diffusers/stable-diffusion-xl-1.0-inpainting-0.1"
# SDXL's own architecture, as its config.json has it, but for the input channels.
SDXL: dict[str, Any] = {
    "sample_size": 128,
    "in_channels": CHANNELS,
    "out_channels": LATENTS,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def build_unet(
    channels: Sequence[int], layers: int, attention: int, depth: int, head: int, cross: int, pooled: int, size: int
) -> UNet2DConditionModel:
    """A random small UNet of SDXL's kind: attention on its lower levels, text and time ids added to the time.

    channels: of the levels. layers: residual blocks of a level. attention: levels with it, from below. depth: attention
    blocks of one. head: width of a head. cross, pooled: width of the prompt's tokens and of the pooled prompt. size:
    latents a side.
    """
    plain = len(channels) - attention
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=CHANNELS,
        out_channels=LATENTS,
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",) * attention,
        up_block_types=("CrossAttnUpBlock2D",) * attention + ("UpBlock2D",) * plain,
        block_out_channels=tuple(channels),
        layers_per_block=layers,
        transformer_layers_per_block=depth,
        # diffusers calls the number of heads so.
        attention_head_dim=tuple(max(1, width // head) for width in channels),
        cross_attention_dim=cross,
        use_linear_projection=True,
        # Added before a norm, as SDXL has it, an absolute colour is normalised away.
        resnet_time_scale_shift="scale_shift",
        norm_num_groups=GROUPS,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=pooled + TIME_IDS * TIME_WIDTH,
    )


@torch.no_grad()
def widen(unet: Any) -> Any:
    """Make a UNet of four input channels one of nine, in place: the weights of the new ones are 0, the bias stays.

    Raises:
        DataError: it has neither four nor nine.
    """
    old = unet.conv_in
    if old.in_channels == CHANNELS:
        return unet
    if old.in_channels != LATENTS:
        raise DataError(
            f"inpainter.path: a UNet of {old.in_channels} input channels, where {LATENTS} or {CHANNELS} can be"
        )
    new = nn.Conv2d(CHANNELS, old.out_channels, old.kernel_size, old.stride, old.padding)
    new.to(device=old.weight.device, dtype=old.weight.dtype)
    new.weight.zero_()
    new.weight[:, :LATENTS] = old.weight
    new.bias.copy_(old.bias)  # type: ignore[union-attr]
    unet.conv_in = new
    unet.register_to_config(in_channels=CHANNELS)
    return unet


def open_unet(settings: Inpainter, cross: int, pooled: int, size: int) -> Any:
    """The UNet of `settings` with nine input channels; see `build_unet` for the widths, which real weights decide
    themselves and must agree with.

    Raises:
        MissingWeightsError: it is not there; names the file, where it comes from and the key to set.
        DataError: it is something else, or does not fit the text encoders.
    """
    if settings.source == "new":
        layout = settings.layers, settings.attention, settings.depth, settings.head
        return build_unet(settings.channels, *layout, cross, pooled, size)
    unet = widen(_load(settings.source, str(settings.path)))
    wanted = unet.config.projection_class_embeddings_input_dim - TIME_IDS * unet.config.addition_time_embed_dim
    if (unet.config.cross_attention_dim, wanted) != (cross, pooled):
        raise DataError(
            f"inpainter.path={settings.path}: a UNet for tokens of {unet.config.cross_attention_dim} and pooled "
            f"prompts of {wanted} numbers, the prompts were encoded to {cross} and {pooled}: set prompts.source and "
            "prompts.path to its own text encoders"
        )
    return unet


def add_lora(unet: Any, rank: int, alpha: int) -> None:
    """Freeze `unet` but for conv_in and new low-rank adapters (Hu et al., ICLR 2022) on its attention."""
    from peft import LoraConfig

    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=TARGETS))
    unet.conv_in.requires_grad_(True)


def hold_frozen(unet: Any) -> None:
    """Keep the weights of `unet` that do not train in bfloat16; those that do stay float32, as AdamW needs them."""
    for weight in unet.parameters():
        if not weight.requires_grad:
            weight.data = weight.data.to(torch.bfloat16)


def use_xformers(unet: Any) -> None:
    """Compute attention by xformers.

    Raises:
        ConfigError: it is not installed, or there is no GPU.
    """
    try:
        unet.enable_xformers_memory_efficient_attention()
    except (ModuleNotFoundError, ValueError) as error:
        raise ConfigError(
            f"inpainter.kernel=xformers cannot be had ({first_line(error)}): pip install xformers on a machine with a "
            "GPU, or inpainter.kernel=sdpa"
        ) from None


def check_weights(settings: Inpainter) -> None:
    """Refuse local weights that are not there, before hours are spent on what is computed first.

    Raises:
        MissingWeightsError: names the file, where it comes from and the key to set.
    """
    if settings.source == "file" and not Path(str(settings.path)).is_file():
        _folder_of(Path(str(settings.path)))


def merge_lora(unet: Any) -> None:
    """Add the adapters' products to the weights they adapt, and drop them: names are those of a plain UNet again."""
    unet.fuse_lora()
    unet.unload_lora()


def _load(source: str, path: str) -> Any:
    """A UNet from a folder (itself, or its `unet`), from a single file in the original layout, or from the hub."""
    where = Path(path)
    if source == "hub":
        return load_strictly(UNet2DConditionModel, source, path, PATH, WANTED, subfolder="unet")
    if where.is_file():
        return load_original(where)
    return load_strictly(UNet2DConditionModel, source, str(_folder_of(where)), PATH, WANTED, local_files_only=True)


def _folder_of(where: Path) -> Path:
    """The folder with a UNet in diffusers' layout, `where` or its `unet`."""
    folder = where / "unet" if (where / "unet").is_dir() else where
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        if not (folder / name).is_file():
            raise MissingWeightsError(f"{folder / name} is not there: bring {WANTED}, and set {PATH} to its folder")
    return folder


def load_original(path: Path, config: dict[str, Any] | None = None) -> Any:
    """A float32 UNet from a single safetensors file in SDXL's original layout (model.diffusion_model.input_blocks...).

    config: of the architecture, SDXL's where it is not given.

    Raises:
        DataError: the file is not one.
    """
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    from visage.export.weights import load_safetensors

    state, _ = load_safetensors(path)
    name = "model.diffusion_model.input_blocks.0.0.weight"
    if name not in state:
        raise DataError(f"{path}: no {name} in it: give SDXL's UNet in its original layout, or a folder of diffusers'")
    config = {**(config or SDXL), "in_channels": state[name].shape[1]}
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel(**config)
    try:
        converted = convert_ldm_unet_checkpoint(state, config=dict(unet.config))
        unet.load_state_dict(converted, strict=True, assign=True)
    except (KeyError, RuntimeError) as error:  # a tensor that is not there: Stable Diffusion 1 has no label_emb
        raise DataError(f"{path}: not of SDXL's architecture ({first_line(error)}): bring {WANTED}") from None
    return unet.float()  # such files are often of half precision
