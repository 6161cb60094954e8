"""The inpainter: what a step costs, what each memory technique saves, how long painting takes, and SDXL's bill.

    PYTHONPATH=src python benchmarks/inpaint.py [--batch N] [--steps N] [--only step,memory,tryon,full,sweep]

On whatever machine it finds, with the networks of the default configuration and random latents (times do not depend
on what is in them). Techniques are measured one at a time against the plain step of the same run. `full` builds SDXL's
UNet on the meta device, so no weights are needed: bytes are counted, activations by what autograd would keep. `sweep`
needs what `dvc repro evaluate_inpainter` has made: guidance and sampler steps against quality.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from visage.config import load_config
from visage.inpaint.autoencoder_net import build_autoencoder
from visage.inpaint.conditions import IDENTITY, Told
from visage.inpaint.footprint import components
from visage.inpaint.inpainter_net import InpainterNetwork
from visage.inpaint.latents import decode, encode
from visage.inpaint.losses import mask_aware
from visage.inpaint.noise import open_noise
from visage.inpaint.sampling import sample
from visage.inpaint.unet import SDXL, add_lora, build_unet
from visage.runtime import keep_freed_memory, peak_memory_mb

TOKENS, STYLE, CARD_GB = 77, 594, 12
BACKWARD_FACTOR = 1.35  # of the memory budget: what backward holds beside what was kept


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", default="step,memory,tryon,full,sweep")
    options = parser.parse_args()
    keep_freed_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"device: {torch.cuda.get_device_name() if device == 'cuda' else f'cpu, {torch.get_num_threads()} threads'}")
    for name, part in {"step": step, "memory": memory, "tryon": tryon, "full": full, "sweep": sweep}.items():
        if name in options.only.split(","):
            print(f"\n{name}")
            part(options.batch, options.steps, device)


def network(device: str) -> tuple[InpainterNetwork, Any, int]:
    """The default's network, its autoencoder, and latents a side."""
    config = load_config()
    settings, size = config.inpainter, config.autoencoder.size
    vae = build_autoencoder(list(config.autoencoder.channels), size).to(device).eval().requires_grad_(False)  # type: ignore[attr-defined]
    side = size // 2 ** (len(config.autoencoder.channels) - 1)
    width = 2 * config.prompts.width
    unet = build_unet(
        settings.channels, settings.layers, settings.attention, settings.depth, settings.head, width, width, side
    )
    return InpainterNetwork(unet, STYLE, size).to(device), vae, side


def inputs(
    count: int, side: int, device: str, cross: int = 64, pooled: int = 64
) -> tuple[Tensor, Tensor, Tensor, Told]:
    """Random latents, times, mask and what is told."""
    told = Told(
        torch.randn(count, TOKENS, cross), torch.randn(count, pooled), torch.randn(count, STYLE),
        torch.randn(count, IDENTITY), torch.ones(count, 3),
    )  # fmt: skip
    latents, mask = torch.randn(count, 4, side, side), torch.rand(count, 1, side, side)
    times = torch.randint(0, 1000, (count,))
    return latents.to(device), times.to(device), mask.to(device), Told(*(part.to(device) for part in told))


def timed(call: Callable[[], object], repeats: int, device: str) -> float:
    """The median of seconds, after one call that warms up."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return median(seconds[1:])


def step(batch: int, repeats: int, device: str) -> None:
    """The parts of a training step."""
    net, vae, side = network(device)
    latents, times, mask, told = inputs(batch, side, device)
    pictures = torch.randn(batch, 3, net.size, net.size, device=device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5)

    def loss() -> Tensor:
        return mask_aware(net(latents, times, mask, latents, told), latents, mask, 24, None)

    def train() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    def consistency() -> None:
        leaf = latents[:2].clone().requires_grad_()
        decode(vae, leaf).square().mean().backward()

    parts = {
        "VAE encode": lambda: encode(vae, pictures),
        "VAE decode": lambda: decode(vae, latents),
        "UNet forward": lambda: loss(),
        "whole step": train,
        "decoding two pictures with gradient": consistency,
    }
    whole = timed(train, repeats, device)
    for name, call in parts.items():
        seconds = timed(call, repeats, device)
        print(f"  {name:36} {1000 * seconds:8.1f} ms  {seconds / whole:5.0%} of a step")
    print(f"  {batch / whole:.1f} samples/s at batch {batch}; peak {_peak(device):.0f} MB")


def memory(batch: int, repeats: int, device: str) -> None:
    """What autograd keeps of a step, and the time of one, with one technique at a time."""

    def plain(_: InpainterNetwork) -> None:
        pass

    techniques: dict[str, tuple[Callable[[InpainterNetwork], None], int]] = {
        "plain": (plain, batch),
        "gradient checkpointing": (lambda net: net.unet.enable_gradient_checkpointing(), batch),
        "accumulation 4": (plain, max(1, batch // 4)),
        "LoRA, conv_in, projectors": (lambda net: add_lora(net.unet, 16, 16), batch),
    }
    first: tuple[float, float] | None = None
    for name, (change, portion) in techniques.items():
        net, _, side = network(device)
        change(net)
        latents, times, mask, told = inputs(portion, side, device)
        net.train()

        def train(
            net: InpainterNetwork = net, given: Any = (latents, times, mask, told), portion: int = portion
        ) -> None:
            latents, times, mask, told = given
            for _ in range(batch // portion):
                mask_aware(net(latents, times, mask, latents, told), latents, mask, 24, None).backward()

        kept = kept_mb(lambda net=net, given=(latents, times, mask, latents, told): net(*given), net)  # type: ignore[misc]
        trained = sum(p.numel() * p.element_size() for p in net.parameters() if p.requires_grad) / (1 << 20)
        seconds = timed(train, repeats, device)
        size = kept + 3 * trained
        first = first or (size, seconds)
        print(
            f"  {name:28} {kept:7.0f} MB kept + {3 * trained:5.0f} MB gradients and moments = {size / first[0]:5.0%}, "
            f"time {seconds / first[1]:5.0%}"
        )


def kept_mb(call: Callable[[], Tensor], module: nn.Module) -> float:
    """MB of what autograd keeps of a forward pass, weights not counted."""
    weights = {id(p) for p in module.parameters()}
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if id(tensor) not in weights and not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            seen[storage.data_ptr() or id(storage)] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        call()
    return sum(seen.values()) / (1 << 20)


def tryon(batch: int, repeats: int, device: str) -> None:
    """Sampling and decoding one picture."""
    net, vae, side = network(device)
    net.eval()
    latents, _, mask, told = inputs(1, side, device)
    noise = open_noise("sample", True)
    first = 0.0
    for sampler, steps in (("ddim", 20), ("ddim", 10), ("dpm", 10), ("ddim", 4), ("dpm", 4), ("euler", 4)):

        def paint(sampler: str = sampler, steps: int = steps) -> None:
            with torch.inference_mode():
                decode(
                    vae, sample(net, noise, latents, mask, latents, told, sampler=sampler, steps=steps, guidance=1.0)
                )

        seconds = timed(paint, repeats, device)
        first = first or seconds
        print(f"  {sampler:6} {steps:3} steps {1000 * seconds:8.1f} ms  {seconds / first:5.0%}")


def full(batch: int, repeats: int, device: str) -> None:
    """SDXL's bill against a card of 12 GB, its UNet on the meta device, one picture of 1,024 pixels in bf16."""
    from diffusers import UNet2DConditionModel

    for name, lora, checkpointing in (
        ("full finetune", False, True),
        ("LoRA", True, True),
        ("LoRA, all kept", True, False),
    ):
        with torch.device("meta"):
            unet: Any = UNet2DConditionModel(**SDXL)
            net = InpainterNetwork(unet, STYLE, 1024)
            if lora:
                add_lora(unet, 16, 16)
            net.to(torch.bfloat16)
            if checkpointing:
                unet.enable_gradient_checkpointing()
            net.train()
            latents = torch.randn(1, 4, 128, 128, dtype=torch.bfloat16)
            told = Told(
                torch.randn(1, TOKENS, 2048, dtype=torch.bfloat16), torch.randn(1, 1280, dtype=torch.bfloat16),
                torch.randn(1, STYLE, dtype=torch.bfloat16), torch.randn(1, IDENTITY, dtype=torch.bfloat16),
                torch.ones(1, 3, dtype=torch.bfloat16),
            )  # fmt: skip
            times = torch.ones(1, dtype=torch.long)
            kept = kept_mb(lambda: net(latents, times, latents[:, :1], latents, told), net) / 1024 * BACKWARD_FACTOR  # noqa: B023
        parts = components(net, None, "adamw8bit", averaged=True, activations=kept)
        total = sum(parts.values())
        print(f"  {name}: " + ", ".join(f"{part} {size:.2f}" for part, size in parts.items() if size))
        print(f"  {'':4}in all {total:.1f} GB: {'fits' if total <= CARD_GB else 'does not fit'} {CARD_GB} GB")


def sweep(batch: int, repeats: int, device: str) -> None:
    """Quality of the trained network over sampler steps and guidance."""
    from visage.inpaint.evaluate_inpainter import open_bench, paint_all
    from visage.inpaint.latents import open_autoencoder
    from visage.inpaint.painter import open_painter
    from visage.inpaint.quality import measure, summarise
    from visage.inpaint.snapshots import newest, open_snapshot
    from visage.inpaint.train_inpainter import Inputs

    made = Inputs(Path("data/processed/inpaint"), Path("artifacts/inpaint"), Path("artifacts/features"))
    if not (made.inpaint / "train_inpainter").is_dir():
        print("  not measured: dvc repro evaluate_inpainter first")
        return
    snapshot, _ = newest(made.inpaint / "train_inpainter")
    painter = open_painter(open_snapshot(snapshot), open_autoencoder(made.autoencoder), snapshot.config)
    bench = open_bench(made, int(snapshot.config["size"]), 32)
    rows = list(range(len(bench.pictures)))
    for sampler, steps, guidance in (
        ("ddim", 1, 1.0), ("ddim", 2, 1.0), ("ddim", 4, 1.0), ("ddim", 10, 1.0), ("ddim", 20, 1.0), ("dpm", 4, 1.0),
        ("dpm", 10, 1.0), ("ddim", 4, 1.5), ("ddim", 4, 3.0),
    ):  # fmt: skip
        settings = replace(load_config().tryout, sampler=sampler, steps=steps, guidance=guidance)
        painted = paint_all(painter, bench, rows, rows, settings, 7)
        table = summarise([measure(painted[i], bench.pictures.image(i), bench.hair(i)) for i in rows])
        print(
            f"  {sampler:5} {steps:3} steps, guidance {guidance}: {table['hair_psnr']['mean']:.2f} dB, colour off by "
            f"{table['delta_e']['median']:.1f}, fine contrast {table['contrast_share']['mean']:.2f} of the truth's"
        )


def _peak(device: str) -> float:
    return torch.cuda.max_memory_allocated() / (1 << 20) if device == "cuda" else peak_memory_mb()


if __name__ == "__main__":
    main()
