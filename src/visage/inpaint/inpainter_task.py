"""The inpainter's training problem: what noise was added to a picture's latents, the hair's above all.

The averaged weights (EMA) are what is validated, kept and exported; they and the count of steps are part of the model's
state, so a run that was killed goes on with them.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from torch import Tensor, nn

from visage.inpaint.conditions import IDENTITY, Told, drop
from visage.inpaint.consistency import Consistent, consistent
from visage.inpaint.diffusion_config import Inpainter
from visage.inpaint.inpainter_net import InpainterNetwork
from visage.inpaint.inpainter_watch import Watch
from visage.inpaint.latent_cache import CLEAN, KNOWN, MASK, STYLE, LatentCache, Views
from visage.inpaint.latents import open_autoencoder, stride
from visage.inpaint.losses import mask_aware, min_snr, offset_noise
from visage.inpaint.noise import clean_of, open_noise, random_times, target_of
from visage.inpaint.prompt_cache import PromptCache, read_prompts
from visage.inpaint.record import Row, read_metadata
from visage.inpaint.unet import add_lora, hold_frozen, open_unet, use_xformers
from visage.training.optimizer import BETA1, adamw
from visage.training.plan import Key

TIMES = (200, 500, 800)  # that validation asks at


@dataclass(frozen=True)
class Sources:
    """The folders of prepare_inpaint, train_autoencoder, encode_prompts, train_texture and pretrain_encoder, and of
    the latent caches of the training and of the validation pictures."""

    data: Path
    autoencoder: Path
    prompts: Path
    texture: Path
    encoder: Path
    train: Path
    valid: Path


class LatentSamples:
    """Pictures of the cache: (clean, known, mask, tokens, pooled, style, identity, there) as `Told` says; `steps` x
    batch of them an epoch where `count` says so, in any of their views; else each as it is."""

    def __init__(
        self, cache: LatentCache, rows: Sequence[Row], data: Path, prompts: PromptCache, seed: int, count: int = 0
    ) -> None:
        self.cache, self.rows, self.prompts, self.seed, self.count = cache, list(rows), prompts, seed, count
        self.identities = [identity_of(data, row) for row in rows]

    def __len__(self) -> int:
        return self.count or len(self.rows)

    def resident_bytes(self) -> int:
        """What is kept of a picture: its latents, once read."""
        return sum(self.cache.row(field, 0).nbytes for field in (CLEAN, KNOWN, MASK, STYLE)) * len(self.rows)

    def __getitem__(self, key: Key) -> tuple[NDArray[np.float32], ...]:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index, 6))
        row = int(rng.integers(len(self.rows))) if self.count else index
        view = int(rng.integers(len(self.cache.views))) if self.count else 0
        planes = [self.cache.row(field, row)[view].astype(np.float32) for field in (CLEAN, KNOWN, MASK)]
        tokens, pooled = self.prompts.get(self.rows[row].text_prompt)
        identity, known = self.identities[row]
        style = np.array(self.cache.row(STYLE, row)[view])
        told = not self.cache.views.is_tinted(view)
        there = np.array([told, style.any(), known], np.float32)
        return (*planes, tokens.numpy(), pooled.numpy(), style, identity, there)


def identity_of(data: Path, row: Row) -> tuple[NDArray[np.float32], float]:
    """The identity embedding of a picture, and 1, or 0 where it is nobody's."""
    if row.identity_missing:
        return np.zeros(IDENTITY, np.float32), 0.0
    return np.load(data / row.identity).astype(np.float32), 1.0


class Averaged(nn.Module):
    """The network with its averaged weights and the number of steps taken, both in its state."""

    def __init__(self, network: InpainterNetwork, decay: float) -> None:
        super().__init__()
        self.network = network
        self.average = EMAModel(self.trained(), decay=decay, foreach=True)

    def trained(self) -> list[nn.Parameter]:
        """The weights that train."""
        return [weight for weight in self.network.parameters() if weight.requires_grad]

    def forward(self, *given: Any) -> Tensor:
        """As `InpainterNetwork`."""
        return self.network(*given)

    def step(self) -> int:
        """Take the weights into the average; returns how many steps there have been."""
        weights = self.trained()
        self.average.to(weights[0].device)  # made before the network came there
        self.average.step(weights)
        return int(self.average.optimization_step)

    @contextmanager
    def averaged(self) -> Iterator[InpainterNetwork]:
        """The network with the averaged weights, for as long as the context lasts."""
        weights = self.trained()
        if not self.average.optimization_step:
            yield self.network
            return
        self.average.store(weights)
        self.average.copy_to(weights)
        try:
            yield self.network
        finally:
            self.average.restore(weights)

    def get_extra_state(self) -> dict[str, Any]:
        """The average and the count, for `state_dict`."""
        return {"shadow": [weight.clone() for weight in self.average.shadow_params],
                "steps": self.average.optimization_step}  # fmt: skip

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take back what `get_extra_state` gave."""
        self.average.optimization_step = state["steps"]
        for kept, given in zip(self.average.shadow_params, state["shadow"], strict=True):
            kept.copy_(given.to(kept))


class InpainterTask:
    """The latents of the prepared pictures, and all that is told of them.

    style: numbers of a style. size: pixels a side. watch: makes what is told of every step, given the autoencoder.
    """

    def __init__(
        self,
        settings: Inpainter,
        sources: Sources,
        style: int,
        size: int,
        seed: int,
        watch: Callable[[Any], Watch] | None = None,
    ) -> None:
        rows = read_metadata(sources.data)
        train = [row for row in rows if row.split == "train"]
        valid = [row for row in rows if row.split == "val"] or train
        prompts = read_prompts(sources.prompts)
        self.settings = settings
        count = settings.steps * settings.batch_size
        self.train_samples = LatentSamples(
            LatentCache(sources.train, len(train), views_of(settings, seed)), train, sources.data, prompts, seed, count
        )
        valid_cache = LatentCache(sources.valid, len(valid), Views())
        self.valid_samples = LatentSamples(valid_cache, valid, sources.data, prompts, seed)
        vae = open_autoencoder(sources.autoencoder)
        unet = open_unet(settings, prompts.tokens.shape[-1], prompts.pooled.shape[-1], size // stride(vae))
        if settings.trainable == "lora":
            add_lora(unet, settings.lora.rank, settings.lora.alpha)
        if settings.frozen == "bf16":
            hold_frozen(unet)
        if settings.kernel == "xformers":
            use_xformers(unet)
        if settings.checkpointing:
            unet.enable_gradient_checkpointing()
        self.model = Averaged(InpainterNetwork(unet, style, size), settings.ema)
        self.noise = open_noise(settings.prediction, settings.zero_snr)
        self.watch = watch(vae) if watch else None
        self.consistent = (
            Consistent(settings, vae, sources.texture, sources.encoder, size) if consistent(settings) else None
        )

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW, or bitsandbytes' of 8 bits; after each of its steps the weights join the average."""
        optimizer = self._optimizer()
        optimizer.register_step_post_hook(lambda *_: self.after_step())
        return optimizer

    def after_step(self) -> None:
        """The end of an optimizer step: the weights join the average, and the first process keeps what is due."""
        step = self.model.step()
        if self.watch and os.environ.get("RANK", "0") == "0":
            self.watch.after(step, self)

    def _optimizer(self) -> torch.optim.Optimizer:
        settings = self.settings
        if settings.optimizer == "adamw":
            return adamw(self.model, settings.lr, settings.weight_decay, settings.beta2)
        from bitsandbytes.optim import AdamW8bit  # type: ignore[import-not-found]

        betas = (BETA1, settings.beta2)
        return AdamW8bit(self.model.trained(), lr=settings.lr, betas=betas, weight_decay=settings.weight_decay)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        """In training of random noise at random times; in validation of the same noise at the same times whenever it is
        asked, by the averaged weights. Sums: the consistency loss and its share of the whole, times the pictures."""
        clean, known, mask, *told = batch
        count = len(clean)
        if train:
            noise = offset_noise(torch.randn_like(clean), self.settings.noise_offset)
            times = random_times(count, self.settings.noisier, clean.device)
            given = drop(Told(*told), self.settings.drop, self.settings.drop_all)
            said, noisy, main = self._main(model, clean, known, mask, given, noise, times)
            if self.consistent is None or self.model.average.optimization_step % self.settings.consistency.every:
                return main, {}
            more = self.consistent(clean_of(self.noise, said, noisy, times), clean, mask)
            return main + more, {"consistency": more.detach() * count, "ratio": (more / main).detach() * count,
                                 "decoded": torch.tensor(float(count))}  # fmt: skip
        with self.model.averaged() as network:
            losses = []
            for number, time in enumerate(TIMES):
                generator = torch.Generator().manual_seed(number)
                noise = torch.randn(clean.shape, generator=generator).to(clean)
                times = torch.full((count,), time, device=clean.device)
                losses.append(self._main(network, clean, known, mask, Told(*told), noise, times)[2])
        return torch.stack(losses).mean(), {}

    def _main(
        self, model: nn.Module, clean: Tensor, known: Tensor, mask: Tensor, told: Told, noise: Tensor, times: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The network's answer, what it was given, and the mask-aware loss."""
        noisy = self.noise.add_noise(clean, noise, times)
        said = model(noisy, times, mask, known, told).float()
        settings = self.settings
        weights = None
        if settings.snr_gamma:
            alphas = self.noise.alphas_cumprod.to(clean.device)
            weights = min_snr(alphas, times, settings.snr_gamma, settings.prediction)
        target = target_of(self.noise, clean, noise, times)
        return said, noisy, mask_aware(said, target, mask, settings.mask, weights)

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """noise_loss: without the consistency loss; that, and its ratio to it, of the pictures that were decoded."""
        decoded = sums.get("decoded", 0)
        found = {"noise_loss": (sums["loss"] - sums.get("consistency", 0)) / count}
        if decoded:
            found |= {name: sums[name] / decoded for name in ("consistency", "ratio")}
        return found


def views_of(settings: Inpainter, seed: int) -> Views:
    """In which ways training pictures are shown."""
    return Views(settings.flips, settings.tints, seed)
