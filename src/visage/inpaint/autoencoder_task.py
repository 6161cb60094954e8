"""The small autoencoder's training problem: crops of pictures and of bald pictures, told apart by nothing.

Differences count three times: pixel by pixel, in their gradients (strands), and after a low-pass and in chroma
(colour), because a minute of pixel losses alone leaves hues that are off.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from visage.inpaint.autoencoder_net import build_autoencoder, start_linear
from visage.inpaint.diffusion_config import Autoencoder
from visage.inpaint.picture_set import PictureSet, to_signed
from visage.inpaint.record import read_metadata
from visage.training.optimizer import adamw
from visage.training.plan import Key
from visage.training.rows import training_rows

STARTERS = 16  # pictures that the colour path is fitted to
LOW_PASS = 8  # pixels


class Crops:
    """Random crops, one a sample: 3 x C x C float32 in [-1, 1], a pure function of (seed, epoch, index)."""

    def __init__(self, pictures: PictureSet, crop: int, bald: float, count: int, seed: int) -> None:
        self.pictures, self.crop, self.bald, self.count, self.seed = pictures, crop, bald, count, seed

    def __len__(self) -> int:
        return self.count if len(self.pictures) else 0

    def resident_bytes(self) -> int:
        """What the pictures' cache comes to hold."""
        return self.pictures.resident_bytes()

    def __getitem__(self, key: Key) -> tuple[NDArray[np.float32]]:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index, 5))
        row = int(rng.integers(len(self.pictures)))
        pixels = self.pictures.bald(row) if rng.random() < self.bald else self.pictures.image(row)
        top, left = rng.integers(0, self.pictures.size - self.crop + 1, 2)
        part = pixels[top : top + self.crop, left : left + self.crop]
        return (to_signed(part[:, ::-1] if rng.random() < 0.5 else part),)


class Wholes:
    """Whole pictures with their hair: (3 x S x S float32 in [-1, 1], 1 x S x S float32 of {0, 1})."""

    def __init__(self, pictures: PictureSet) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def resident_bytes(self) -> int:
        """What the pictures' cache comes to hold."""
        return self.pictures.resident_bytes()

    def __getitem__(self, key: Key) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        index = key[1]
        return to_signed(self.pictures.image(index)), self.pictures.hair(index)[None].astype(np.float32)


class Reconstruction(nn.Module):
    """An autoencoder as a module of one call: (N, 3, S, S) -> (reconstruction, KL divergence a latent)."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """In training the latents are drawn from the posterior; in evaluation they are its mode."""
        posterior = self.vae.encode(pictures).latent_dist
        latents = posterior.mean
        if self.training:
            latents = latents + posterior.std * torch.randn_like(latents)
        return self.vae.decode(latents).sample, posterior.kl().mean() / latents[0].numel()


class AutoencoderTask:
    """The pictures that prepare_inpaint wrote, training split in crops and validation split whole."""

    def __init__(self, settings: Autoencoder, data: Path, seed: int) -> None:
        rows = read_metadata(data)
        train, valid = training_rows(
            lambda split: np.flatnonzero([row.split == split for row in rows]), "pictures", "inpaint.prepare.train"
        )
        self.settings = settings
        pictures = PictureSet(data, [rows[index] for index in train], settings.size)
        count = settings.steps * settings.batch_size
        self.train_samples = Crops(pictures, settings.crop, settings.bald, count, seed)
        self.valid_samples = Wholes(PictureSet(data, [rows[index] for index in valid], settings.size))
        vae: Any = build_autoencoder(list(settings.channels), settings.size)
        starters = [to_signed(pictures.image(index)) for index in range(min(STARTERS, len(pictures)))]
        start_linear(vae, torch.from_numpy(np.stack(starters)))
        self.model = Reconstruction(vae)

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW without decay."""
        return adamw(self.model, self.settings.lr, 0.0, self.settings.beta2)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss, and in validation the sum over pictures of the PSNR inside the hair, dB."""
        pictures = batch[0]
        made, divergence = model(pictures)
        made = made.float()
        pixel = functional.l1_loss(made, pictures) + functional.mse_loss(made, pictures)
        loss = (
            pixel
            + self.settings.detail * _detail(made - pictures)
            + self.settings.colour * _colour(made - pictures)
            + self.settings.kl * divergence
        )
        if train:
            return loss, {}
        return loss, {"psnr": psnr_db(made, pictures, batch[1]).sum()}

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """psnr: dB inside the hair, the mean over pictures; of validation alone."""
        return {"psnr": sums["psnr"] / count} if "psnr" in sums else {}


def psnr_db(made: Tensor, pictures: Tensor, mask: Tensor) -> Tensor:
    """Peak signal-to-noise ratio, dB, of each of N pictures (N, 3, H, W) in [-1, 1] where `mask` (N, 1, H, W) is 1."""
    error = ((made.clamp(-1, 1) - pictures) / 2).square() * mask
    mean = error.flatten(1).sum(1) / (3 * mask.flatten(1).sum(1)).clamp_min(1)
    return -10 * torch.log10(mean.clamp_min(1e-10))


def _detail(difference: Tensor) -> Tensor:
    """The mean of the gradients' absolute difference."""
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()


def _colour(difference: Tensor) -> Tensor:
    """The mean square of the difference after a low-pass, and of its chroma (its distance from grey)."""
    low = functional.avg_pool2d(difference, LOW_PASS, ceil_mode=True)
    chroma = difference - difference.mean(1, keepdim=True)
    return low.square().mean() + chroma.square().mean()
