"""What a run leaves behind while it trains: snapshots of the averaged weights, and sheets on which one sees it learn.

Both are pure functions of the weights and the step, so a run that was killed writes the same files again.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visage.inpaint.conditions import Told
from visage.inpaint.diffusion_config import Inpainter
from visage.inpaint.inpainter_net import InpainterNetwork, network_config, write_inpainter
from visage.inpaint.latents import decode
from visage.inpaint.noise import draw
from visage.inpaint.picture_set import PictureSet, from_signed
from visage.inpaint.sampling import compose, sample
from visage.inpaint.style import KIND
from visage.vision.sheet import contact_sheet, write_sheet

SHOWN, TILE, STEPS, SEED = 6, 112, 10, 3
# What a file says of how it was trained, for whoever uses it.
USE = ("convention", "outline", "prediction", "zero_snr", "trainable", "source", "path")


def snapshot_name(step: int) -> str:
    """The file of the weights after `step` steps."""
    return f"stage2_step_{step}.safetensors"


def epoch_name(epoch: int) -> str:
    """The file of the weights after `epoch` epochs."""
    return f"stage2_epoch_{epoch}.safetensors"


class Watch:
    """folder: of the snapshots. sheets: of the sheets. pictures: of validation, in the order of the task's samples."""

    def __init__(self, settings: Inpainter, folder: Path, sheets: Path, pictures: PictureSet, vae: Any) -> None:
        self.settings, self.folder, self.sheets, self.pictures, self.vae = settings, folder, sheets, pictures, vae

    def after(self, step: int, task: Any) -> None:
        """Write what is due after `step` steps of `task` (an InpainterTask)."""
        settings = self.settings
        names = [snapshot_name(step)] if step % settings.snapshot_steps == 0 else []
        if step % settings.steps == 0:
            names.append(epoch_name(step // settings.steps))
        sheet = settings.sheet_steps and step % settings.sheet_steps == 0
        if not names and not sheet:
            return
        with task.model.averaged() as network:
            for name in names:
                write_inpainter(self.folder / name, trained_state(network), self.config(network, step))
            if sheet:
                write_sheet(self.sheets / f"step_{step:05d}.png", self._sheet(network, task))

    def config(self, network: InpainterNetwork, step: int) -> dict[str, Any]:
        """The header of a snapshot."""
        settings = asdict(self.settings)
        more = {name: settings[name] for name in USE} | {"lora": settings["lora"], "step": step, "style_kind": KIND}
        return network_config(network, more)

    def _sheet(self, network: InpainterNetwork, task: Any) -> Any:
        count = min(SHOWN, len(task.valid_samples))
        device = next(network.parameters()).device
        samples = [task.valid_samples[(0, index)] for index in range(count)]
        batch = [part.to(device) for part in torch.utils.data.default_collate(samples)]
        clean, known, mask, *told = batch
        training = network.training
        network.eval()
        start = draw(tuple(clean.shape), SEED).to(device)
        painted = sample(
            network, task.noise, start, mask, known, Told(*told), sampler="ddim", steps=STEPS, guidance=1.0
        )
        network.train(training)
        with torch.inference_mode():
            shown = decode(self.vae.to(device), painted).cpu().numpy()
        tiles = []
        for index in range(count):
            truth, bald, paint = (of(index) for of in (self.pictures.image, self.pictures.bald, self.pictures.paint))
            tiles += [(bald, "bald"), (compose(bald, from_signed(shown[index]), paint), "painted"), (truth, "truth")]
        return contact_sheet(tiles, 6, TILE)


def trained_state(network: InpainterNetwork) -> dict[str, Tensor]:
    """The weights that training changes, on the CPU: all of them, or adapters, conv_in and the conditioner."""
    frozen = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    return {name: weight.detach().cpu().clone() for name, weight in network.state_dict().items() if name not in frozen}
