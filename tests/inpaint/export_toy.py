"""An inpainter to export, its weights random: what is tested is what becomes of files, not of hair."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from inpaint.tiny import SIDE, SIZE, WIDTH, make
from inpaint.toy import settings
from visage.inpaint.diffusion_config import Prompts
from visage.inpaint.export_inpainter import export
from visage.inpaint.inpainter_net import InpainterNetwork, network_config, write_inpainter
from visage.inpaint.prompt_cache import RECORD
from visage.inpaint.record import META
from visage.inpaint.style import KIND, open_style
from visage.inpaint.text_encoders import checksums, new_text_encoders
from visage.inpaint.train_inpainter import Inputs
from visage.inpaint.tryout_config import Gate
from visage.io.atomic import sha256_file, write_json

SUMMARY = {"mean": 20.5, "median": 20.25, "pictures": 3}
GATE = {"psnr": 20.0, "over_inpaint": 7.5, "over_mean": -0.5, "delta_e": 4.0, "swapped_delta_e": 5.0, "texture": 0.75,
        "lpips": "not measured"}  # fmt: skip
UNET: dict[str, Any] = {
    "sample_size": SIZE // 2, "in_channels": 9, "out_channels": 4, "block_out_channels": (32, 32),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1, "attention_head_dim": 2, "cross_attention_dim": 2 * WIDTH, "norm_num_groups": 8,
    "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 2 * WIDTH + 6 * 8,
}  # fmt: skip
LATEST = "deep_hair_v1_latest.safetensors"


def make_inputs(folder: Path) -> Inputs:
    """All that export_inpainter takes but snapshots."""
    made = make(folder)
    write_json(made.data / META, {"size": SIDE})
    encoders = new_text_encoders(Prompts("new", None, WIDTH, 1, 2))
    encoders.save(made.prompts / "encoders")
    record = {"source": "new", "path": "encoders", "sha256": checksums(made.prompts / "encoders")}
    write_json(made.prompts / RECORD, record)
    return made


def network(made: Inputs, seed: int = 0) -> InpainterNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(**UNET)
        return InpainterNetwork(unet, open_style(made.texture).width, SIZE)


def snapshot(path: Path, made: Inputs, step: int, seed: int = 0, **changes: Any) -> Path:
    """A random network as train_inpainter writes them."""
    of = network(made, seed)
    more = {"convention": "bald", "outline": True, "prediction": "sample", "zero_snr": True, "source": "new",
            "path": None, "trainable": "full", "lora": {"rank": 4, "alpha": 4}, "step": step,
            "style_kind": KIND}  # fmt: skip
    write_inpainter(path, of.state_dict(), network_config(of, more | changes))
    return path


def evaluation(path: Path, of: Path, **gate: Any) -> Path:
    """Metrics as evaluate_inpainter writes them of the snapshot `of`."""
    ways = ("inpainter", "opencv", "mean_colour", "autoencoder")
    write_json(path, {
        **{way: {"hair_psnr": SUMMARY, "lpips": "not measured"} for way in ways},
        "gate": GATE | gate, "sha256": sha256_file(of), "pictures": 3, "sources": 3, "snapshot": of.name,
        "sampler": {"name": "ddim", "steps": 2, "guidance": 1.0},
    })  # fmt: skip
    return path


def run(folder: Path, made: Inputs, snapshots: Path, measured: Path, **gate: float) -> dict[str, Any]:
    """Export into folder/deep_hair_v1; returns the verdict."""
    export(
        Gate(**(gate or {"psnr": 10.0})), settings(), inputs=made, snapshots=snapshots, evaluation=measured,
        out=folder / "deep_hair_v1", metrics=folder / "metrics.json",
    )  # fmt: skip
    return dict(json.loads((folder / "deep_hair_v1" / "verdict.json").read_text()))
