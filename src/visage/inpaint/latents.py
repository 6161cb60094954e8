"""Pictures into latents and back, by the autoencoder that train_autoencoder trained or chose.

Latents come out with mean 0 and deviation 1 as the network wants them: by the autoencoder's own statistics of each
channel where it has them, else by its scaling factor. SDXL's autoencoder overflows in half precision; whatever it is
run in, latents that are no numbers stop the run.
"""

import json
import logging
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from visage.errors import DataError, MissingWeightsError
from visage.io.atomic import write_json

RECORD = "record.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
AT_ONCE = 2**18  # pixels that are coded in one batch: one picture of 512 a side, or 16 of 128
WANTED = "the VAE of stabilityai/stable-diffusion-xl-base-1.0, or madebyollin/sdxl-vae-fp16-fix for half precision"


def load_autoencoder(source: str, path: str | Path | None, key: str = "autoencoder.path") -> Any:
    """The AutoencoderKL in a folder ("file"; itself, or its `vae`) or of a repository ("hub"), frozen.

    Raises:
        MissingWeightsError: it is not there; names the file, where it comes from and the key to set.
        DataError: the weights are of another network.
    """
    where = str(path)
    options: dict[str, Any] = {}
    if source == "file":
        folder = Path(where) / "vae" if (Path(where) / "vae").is_dir() else Path(where)
        for name in ("config.json", WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise MissingWeightsError(f"{folder / name} is not there: bring {WANTED}, and set {key} to its folder")
        where, options = str(folder), {"local_files_only": True}
    elif source == "hub":
        options = {} if where.endswith(("vae", "vae-fp16-fix")) else {"subfolder": "vae"}
    vae = load_strictly(AutoencoderKL, source, where, key, WANTED, **options)
    # Convolutions of channels_last pictures take two thirds of the time on a CPU.
    return vae.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def load_strictly(kind: Any, source: str, where: str, key: str, wanted: str, **options: Any) -> Any:
    """`kind.from_pretrained(where)` in float32; weights that the file lacks, which diffusers would leave random with a
    warning, are refused. key: of the configuration, and wanted: what belongs there, for the messages.

    Raises:
        MissingWeightsError: the hub cannot give it.
        DataError: the weights are of another network, or damaged.
    """
    log = logging.getLogger("diffusers.models.modeling_utils")
    level = log.level
    log.setLevel(logging.CRITICAL)  # what it would warn of is an error here
    try:
        network, found = kind.from_pretrained(
            where, use_safetensors=True, low_cpu_mem_usage=False, ignore_mismatched_sizes=True,
            output_loading_info=True, **options,
        )  # fmt: skip
    except OSError as error:
        if source == "file":
            raise DataError(f"{key}={where}: damaged ({first_line(error)}): bring {wanted}") from None
        raise MissingWeightsError(
            f"{key}={where}: it cannot be brought from the hub ({first_line(error)}): bring {wanted}, and set "
            f"source=file and {key} to its folder"
        ) from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise DataError(
            f"{key}={where}: not the weights of its config.json ({first_line(error)}): bring {wanted}"
        ) from None
    finally:
        log.setLevel(level)
    odd = sorted({*found["missing_keys"], *found["unexpected_keys"], *(name for name, *_ in found["mismatched_keys"])})
    if odd:
        raise DataError(
            f"{key}={where}: not the weights of its config.json (first odd tensor: {odd[0]}): bring {wanted}"
        )
    return network


def write_record(folder: Path, source: str, path: str | None) -> None:
    """Write which autoencoder `open_autoencoder(folder)` is to open."""
    write_json(folder / RECORD, {"source": source, "path": path})


def open_autoencoder(folder: Path) -> Any:
    """The autoencoder that train_autoencoder left in `folder`, or that it recorded there, frozen.

    Raises:
        MissingWeightsError: train_autoencoder has not run, or the weights it names are gone.
    """
    if not (folder / RECORD).is_file():
        raise MissingWeightsError(f"{folder / RECORD} is not there: dvc repro train_autoencoder")
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    if record["source"] == "new":
        return load_autoencoder("file", folder / "vae", str(folder))
    return load_autoencoder(record["source"], record["path"])


def stride(vae: Any) -> int:
    """How many pixels a side a latent stands for."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def encode(vae: Any, pictures: Tensor) -> Tensor:
    """(N, 3, H, W) in [-1, 1] -> (N, 4, H / stride, W / stride) float32, the mode of the posterior, normalised.

    Raises:
        DataError: the autoencoder gave no numbers.
    """
    _slice(vae, pictures.shape[-2:].numel() * len(pictures))
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        modes = vae.encode(pictures.to(vae.dtype)).latent_dist.mode().float()
    latents = (modes - _mean(vae, modes)) * _scale(vae, modes)
    if not torch.isfinite(latents).all():
        raise DataError(
            "the autoencoder gives latents that are no numbers: SDXL's own overflows in float16: use "
            "madebyollin/sdxl-vae-fp16-fix, or precision bf16 or fp32"
        )
    return latents.clone()  # out of inference mode, so that a loss may use it


def decode(vae: Any, latents: Tensor) -> Tensor:
    """What `encode` gave -> pictures (N, 3, H, W) float32 about [-1, 1]; gradients reach `latents`."""
    _slice(vae, latents.shape[-2:].numel() * len(latents) * stride(vae) ** 2)
    return vae.decode((latents / _scale(vae, latents) + _mean(vae, latents)).to(vae.dtype)).sample.float()


def _slice(vae: Any, pixels: int) -> None:
    """Code one picture at a time where a batch of `pixels` is large, so that memory does not grow with the batch."""
    vae.use_slicing = pixels > AT_ONCE


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _mean(vae: Any, like: Tensor) -> Tensor:
    means = vae.config.latents_mean or [0.0] * vae.config.latent_channels
    return torch.tensor(means, device=like.device)[:, None, None]


def _scale(vae: Any, like: Tensor) -> Tensor:
    deviations = torch.tensor(vae.config.latents_std or [1.0] * vae.config.latent_channels, device=like.device)
    return (vae.config.scaling_factor / deviations)[:, None, None]
