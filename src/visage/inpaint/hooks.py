"""ControlNet and IP-Adapter beside the inpainter, both in diffusers' own form, so that SDXL's published ones fit SDXL.

A ControlNet (Zhang et al., ICCV 2023) sees the four noisy latents, not all nine channels, because that is what
published ones were trained on. An IP-Adapter (Ye et al. 2023) changes the UNet it hangs on; it hangs there only while
it is used, so that a model that stays open is the same afterwards.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from visage.errors import DataError, MissingWeightsError
from visage.export.card import Preprocessing
from visage.export.local_model import load_local
from visage.export.weights import load_safetensors
from visage.inpaint.conditions import Told, time_ids
from visage.inpaint.inpainter_net import InpainterNetwork
from visage.inpaint.latents import first_line, load_strictly
from visage.vision.normalise import normalise
from visage.vision.resize import resize

CONTROLNET = "a ControlNet for this UNet, such as diffusers/controlnet-canny-sdxl-1.0 for SDXL"
ADAPTER = "an IP-Adapter for this UNet, such as sdxl_models/ip-adapter_sdxl.safetensors of h94/IP-Adapter"
VISION = "the image encoder that the IP-Adapter was trained with, such as sdxl_models/image_encoder of h94/IP-Adapter"
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
WEAK, STRONG = 100, 200  # Canny's thresholds, as ControlNet's authors have them
FIT = ("cross_attention_dim", "block_out_channels", "layers_per_block", "projection_class_embeddings_input_dim")
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Control:
    """A ControlNet and the weight of what it says."""

    network: Any
    scale: float

    def side(self, latents: int) -> int:
        """Of the picture that it sees beside latents of `latents` a side."""
        return latents * 2 ** (len(self.network.config.conditioning_embedding_out_channels) - 1)


@dataclass(frozen=True, eq=False)
class Adapter:
    """An IP-Adapter's tensors ("image_proj", "ip_adapter"), the encoder of pictures, and the weight of what it says."""

    tensors: Mapping[str, dict[str, Tensor]]
    encoder: Any
    scale: float

    def embed(self, picture: Pixels) -> tuple[Tensor, Tensor]:
        """Of `picture` (S x S x 3) and of no picture, (1, 1, D) or for a "plus" adapter (1, 1, T, D)."""
        side = int(self.encoder.config.image_size)
        shown = torch.from_numpy(normalise(resize(picture, side, side), Preprocessing(side, side, CLIP_MEAN, CLIP_STD)))
        with torch.inference_mode():
            if "latents" in self.tensors["image_proj"]:
                both = self.encoder(torch.stack([shown, torch.zeros_like(shown)]), output_hidden_states=True)
                seen, unseen = both.hidden_states[-2][:, None].split(1)
            else:
                seen = self.encoder(shown[None]).image_embeds[:, None]
                unseen = torch.zeros_like(seen)
        return seen.clone(), unseen.clone()


class HookedNetwork(InpainterNetwork):
    """`network`, its weights shared, with a ControlNet that sees `picture` and an adapter's embeddings `images`."""

    def __init__(
        self,
        network: InpainterNetwork,
        control: Control | None,
        picture: Tensor | None,
        images: tuple[Tensor, Tensor] | None,
    ) -> None:
        nn.Module.__init__(self)  # the parent would build new projectors
        self.unet, self.conditioner, self.size = network.unet, network.conditioner, network.size
        self.control, self.picture, self.images = control, picture, images

    def forward(self, noisy: Tensor, times: Tensor, mask: Tensor, known: Tensor, told: Told) -> Tensor:
        """As the parent's."""
        tokens, pooled = self.conditioner(told)
        added: dict[str, Any] = {
            "text_embeds": pooled,
            "time_ids": time_ids(len(noisy), self.size, noisy.device),
        }
        more: dict[str, Any] = {}
        if self.control is not None and self.picture is not None:
            down, middle = self.control.network(
                noisy, times, tokens, self.picture.expand(len(noisy), -1, -1, -1), self.control.scale,
                added_cond_kwargs=dict(added), return_dict=False,
            )  # fmt: skip
            more = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        if self.images is not None:
            # What guidance leads away from is told nothing, and so is shown nothing.
            seen, unseen = self.images
            any_told = told.there.amax(1).reshape(-1, *[1] * (seen.ndim - 1)) > 0
            added["image_embeds"] = [torch.where(any_told, seen, unseen)]
        return self.unet(torch.cat([noisy, mask, known], 1), times, tokens, added_cond_kwargs=added, **more).sample


@contextmanager
def hooked(
    network: InpainterNetwork,
    control: Control | None,
    picture: Pixels | None,
    adapter: Adapter | None,
    reference: Pixels,
) -> Iterator[InpainterNetwork]:
    """`network` with what there is of both, for as long as the context lasts.

    picture: `Control.side` pixels a side, what the ControlNet is shown. reference: S x S x 3, what the adapter is.

    Raises:
        DataError: the adapter does not fit the UNet.
    """
    if control is None and adapter is None:
        yield network
        return
    device = next(network.parameters()).device
    shown = None
    if picture is not None:
        shown = torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float32) / 255).to(device)
    if adapter is None:
        yield HookedNetwork(network, control, shown, None).eval()
        return
    seen, unseen = (part.to(device) for part in adapter.embed(reference))
    with _adapted(network.unet, adapter):
        yield HookedNetwork(network, control, shown, (seen, unseen)).eval()


def open_control(where: str, unet: Any, scale: float = 1.0) -> Control:
    """The ControlNet in the folder or of the repository `where`, for `unet`.

    Raises:
        VisageError: it is not there, is something else, or does not fit.
    """
    name = "controlnet"
    source = "file" if Path(where).exists() or not REPOSITORY.fullmatch(where) else "hub"
    if source == "file" and not (Path(where) / "config.json").is_file():
        raise MissingWeightsError(f"{name}={where}: no config.json there: bring {CONTROLNET}")
    from diffusers import ControlNetModel

    options = {"local_files_only": True} if source == "file" else {}
    try:
        network = load_strictly(ControlNetModel, source, where, name, CONTROLNET, **options)
    except MissingWeightsError:
        raise MissingWeightsError(
            f"{name}={where}: it cannot be brought from the hub: bring {CONTROLNET} into a folder, and give that"
        ) from None
    wanted = {"in_channels": unet.config.out_channels} | {key: getattr(unet.config, key) for key in FIT}
    for key, value in wanted.items():
        found = getattr(network.config, key)
        if _plain(found) != _plain(value):
            raise DataError(f"{name}={where}: its {key} is {found}, the UNet needs {value}: bring {CONTROLNET}")
    return Control(network.eval().requires_grad_(False).to(unet.device), scale)


def open_adapter(file: Path, encoder: Path, unet: Any, scale: float = 1.0) -> Adapter:
    """The IP-Adapter in the safetensors `file` with the CLIPVisionModelWithProjection in `encoder`, for `unet`.

    Raises:
        VisageError: one is not there, is something else, or they do not fit each other or the UNet.
    """
    from transformers import CLIPVisionModelWithProjection

    if not file.is_file():
        raise MissingWeightsError(f"{file} is not there: bring {ADAPTER}")
    state, _ = load_safetensors(file)
    tensors = {
        part: {name.removeprefix(f"{part}."): tensor for name, tensor in state.items() if name.startswith(f"{part}.")}
        for part in ("image_proj", "ip_adapter")
    }
    projection = tensors["image_proj"]
    plus = "latents" in projection
    width = projection.get("proj_in.weight" if plus else "proj.weight")
    if width is None or not tensors["ip_adapter"]:
        raise DataError(f"{file}: no IP-Adapter of whole pictures, plain or plus: bring {ADAPTER}")
    vision = load_local(CLIPVisionModelWithProjection, encoder, VISION)
    given = vision.config.hidden_size if plus else vision.config.projection_dim
    if width.shape[-1] != given:
        raise DataError(f"{encoder}: gives {given} numbers, the adapter {file} takes {width.shape[-1]}: bring {VISION}")
    made, cross = _token_width(projection), unet.config.cross_attention_dim
    if made != cross:
        raise DataError(f"{file}: its tokens have {made} numbers, the UNet's {cross}: bring {ADAPTER}")
    adapter = Adapter(tensors, vision, scale)
    try:
        with _adapted(unet, adapter):
            pass
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    return adapter


def edges(image: Pixels, paint: Pixels) -> Pixels:
    """The Canny edges of `image` (S x S x 3) where `paint` (S x S) is 0, white on black, S x S x 3: a ControlNet is
    told of what stays, not of the hair that goes."""
    found = cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), WEAK, STRONG)
    return np.repeat(np.where(paint == 0, found, 0).astype(np.uint8)[..., None], 3, axis=2)


@contextmanager
def _adapted(unet: Any, adapter: Adapter) -> Iterator[None]:
    """`unet` with `adapter` on it; afterwards it is as it was."""
    before, log = unet.attn_processors, logging.getLogger("diffusers.models.modeling_utils")
    level = log.level
    try:
        log.setLevel(logging.ERROR)  # it warns of casting to the type that the UNet has already
        unet._load_ip_adapter_weights(dict(adapter.tensors), low_cpu_mem_usage=False)
    except (KeyError, RuntimeError) as error:
        _bare(unet, before)
        raise DataError(f"does not fit the UNet ({first_line(error)}): bring {ADAPTER}") from None
    finally:
        log.setLevel(level)
    try:
        for processor in unet.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [adapter.scale]
        yield
    finally:
        _bare(unet, before)


def _bare(unet: Any, processors: dict[str, Any]) -> None:
    """Take the adapter off; first its projection, which may have attention of its own that would be counted."""
    unet.encoder_hid_proj = None
    unet.config.encoder_hid_dim_type = None
    unet.set_attn_processor(processors)


def _token_width(projection: Mapping[str, Tensor]) -> int:
    """Of the tokens that an adapter makes of a picture: a plain one's layer makes four at once."""
    if "latents" in projection:
        return len(projection["norm_out.weight"]) if "norm_out.weight" in projection else 0
    return len(projection["proj.weight"]) // 4


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
