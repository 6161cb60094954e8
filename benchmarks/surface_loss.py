"""What the surface term does: the same segmenter trained with it as published, and with clipped distances.

    PYTHONPATH=src python benchmarks/surface_loss.py [--epochs 4] [--seeds 7 8] [--variant micro]

On the prepared eyes (`dvc repro prepare_eyes`) and the parameters of params.yaml. Beside the scores of the best epoch
stands how far the term itself moved, from the first to the last epoch, and what share of the loss's gradient came from
it at the end, on one batch: a term that has none cannot teach anything.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.data import default_collate

from visage.config import load_config
from visage.eyes.losses import alpha_at, pupil_score, surface
from visage.eyes.pupil_task import PupilTask
from visage.eyes.train import loop_settings
from visage.eyes.train_pupil import pupil_training
from visage.runtime import tune

DATA = Path("data/processed/eyes")
# name: (kind of distances, least weight of the Dice term)
SETTINGS = {
    "normalised, Dice fades": ("normalised", 0.0),
    "clipped, Dice fades": ("clipped", 0.0),
    "normalised, Dice throughout": ("normalised", 1.0),
    "clipped, Dice throughout": ("clipped", 1.0),
}


def gradient_share(task: PupilTask) -> float:
    """The norm of the surface term's gradient over that of the whole loss, on eight frames, in percent."""
    parameters = [p for p in task.model.parameters() if p.requires_grad]
    batch = default_collate([task.train_samples[(0, index)] for index in range(8)])
    score = torch.sigmoid(pupil_score(task.model(batch[0])))
    edge = surface(score, batch[3], task.settings.surface, task.settings.surface_clip).mean()
    share = 1 - alpha_at(task.epoch, task.settings)

    def norm(value: torch.Tensor) -> float:
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        return float(torch.cat([g.flatten() for g in gradients if g is not None]).norm())

    whole, _ = task.loss(task.model, batch, True)
    term = share * norm(edge)
    return 100 * term / max(norm(whole), 1e-12)


def main() -> None:
    """Train every setting with every seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8])
    parser.add_argument("--variant", default="micro")
    arguments = parser.parse_args()
    config = load_config()
    tune(config.runtime)
    from visage.tracking.tracker import NullTracker
    from visage.training.loop import Loop

    heads = ("seed", "pupil IoU", "per picture", "term moved by", "gradient %")
    print(f"{'surface term':30} " + " ".join(f"{head:>{len(head)}}" for head in heads))
    for seed in arguments.seeds:
        for name, (kind, floor) in SETTINGS.items():
            settings = replace(
                config.pupil, variant=arguments.variant, epochs=arguments.epochs, surface=kind, dice_floor=floor
            )
            task = PupilTask(settings, DATA, seed)
            with tempfile.TemporaryDirectory() as state:
                loop = Loop(
                    task, loop_settings(pupil_training(settings, DATA, seed), seed), config.runtime, Path(state),
                    NullTracker(),
                )  # fmt: skip
                loop.run()
                history = loop.progress.history
            best = max(history, key=lambda row: row["valid_iou"])
            moved = history[-1]["valid_surface_loss"] - history[0]["valid_surface_loss"]
            print(f"{name:30} {seed:4} {best['valid_pupil_iou']:9.3f} {best['valid_picture_iou']:11.3f} "
                  f"{moved:13.5f} {gradient_share(task):10.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
