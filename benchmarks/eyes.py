"""The eye networks beside one of RITnet's size: milliseconds a frame, training speed, memory.

    PYTHONPATH=src python benchmarks/eyes.py [--repeats N] [--only NAME ...]

Random weights, since they decide no time. Every network is measured in a process of its own; the settings take turns
within it, so that a slow minute hits all of them. Training is one process of two threads at the size each is made for:
frames of 200 x 320 for ours, whole ones for the reference.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.export.card import ModelCard
from visage.export.to_onnx import INPUT, onnx_bytes
from visage.eyes.data import eye_preprocessing
from visage.eyes.losses import ellipse_loss, pupil_score
from visage.eyes.networks import FRAME, KINDS, AtFullSize, count_macs
from visage.runtime import keep_freed_memory, peak_memory_mb
from visage.training.freeze import count_parameters

REFERENCE = "reference"
NAMES = ("tiny", "micro", "ellipse", REFERENCE)
CHANNELS, CLASSES = 32, 4
RITNET_PARAMETERS = 248_900
BATCH = {REFERENCE: 2}


class DenseDown(nn.Module):
    """Five convolutions, each pair seeing all that came before, after halving the size (but in the first block)."""

    def __init__(self, channels: int, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.first = nn.Conv2d(channels, CHANNELS, 3, padding=1)
        self.mix2, self.second = (
            nn.Conv2d(channels + CHANNELS, CHANNELS, 1),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        )
        self.mix3 = nn.Conv2d(channels + 2 * CHANNELS, CHANNELS, 1)
        self.third, self.norm = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.avg_pool2d(x, 2) if self.halve else x
        one = functional.leaky_relu(self.first(x))
        seen = torch.cat((x, one), 1)
        two = functional.leaky_relu(self.second(self.mix2(seen)))
        three = functional.leaky_relu(self.third(self.mix3(torch.cat((seen, two), 1))))
        return self.norm(three)


class DenseUp(nn.Module):
    """Four convolutions on the doubled map and the one of that size from the way down."""

    def __init__(self) -> None:
        super().__init__()
        self.mix1, self.first = nn.Conv2d(2 * CHANNELS, CHANNELS, 1), nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.mix2, self.second = nn.Conv2d(3 * CHANNELS, CHANNELS, 1), nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        seen = torch.cat((functional.interpolate(x, scale_factor=2.0, mode="nearest"), skip), 1)
        one = functional.leaky_relu(self.first(self.mix1(seen)))
        return functional.leaky_relu(self.second(self.mix2(torch.cat((seen, one), 1))))


class Reference(nn.Module):
    """A dense U-Net of RITnet's size (Chaudhary et al. 2019: five blocks down, four up, 32 channels, four classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(DenseDown(CHANNELS if level else 1, level > 0) for level in range(5))
        self.up = nn.ModuleList(DenseUp() for _ in range(4))
        self.score = nn.Conv2d(CHANNELS, CLASSES, 1)

    def forward(self, image: Tensor) -> Tensor:
        maps = [self.down[0](image)]
        for block in list(self.down)[1:]:
            maps.append(block(maps[-1]))
        x = maps.pop()
        for block in self.up:
            x = block(x, maps.pop())
        return self.score(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--measure", choices=("answer", "train"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measured = {"answer": answer, "train": train}[options.measure](options.only[0], options.repeats)
        print(json.dumps(measured | {"peak": peak_memory_mb()}))
        return
    print(f"a frame of {FRAME[0]} x {FRAME[1]}, milliseconds")
    print(f"{'network':10} parameters   GMAC  ONNX KB  ort x 1  ort x 2  torch x 1  torch x 2  peak MB")
    slowest: dict[str, float] = {}
    for name in options.only:
        row = alone(name, "answer", options.repeats)
        slowest[name] = row["ort 1"]
        times = f"{row['ort 1']:7.1f}  {row['ort 2']:7.1f}  {row['torch 1']:9.1f}  {row['torch 2']:9.1f}"
        size = f"{row['parameters']:10,}  {row['gmacs']:5.2f}  {row['bytes'] / 1000:7.0f}"
        print(f"{name:10} {size}  {times}  {row['peak']:7.0f}", flush=True)
    if REFERENCE in slowest:
        ratios = (f"{name} {slowest[REFERENCE] / ms:.1f}" for name, ms in slowest.items() if name != REFERENCE)
        print(f"times faster than the reference, ort x 1: {', '.join(ratios)}")
    print(f"\ntraining, two threads\n{'network':10} size       batch  images/s  peak MB")
    for name in options.only:
        row = alone(name, "train", options.repeats)
        size = "{} x {}".format(*train_size(name))
        print(f"{name:10} {size:9}  {BATCH.get(name, 8):5}  {row['speed']:8.1f}  {row['peak']:7.0f}", flush=True)


def alone(name: str, what: str, repeats: int) -> dict[str, float]:
    """One measurement of one network, in a process of its own."""
    command = [sys.executable, __file__, "--only", name, "--measure", what, "--repeats", str(repeats)]
    # As every stage has it (visage.runtime.tune): beside a busy process, threads that spin for long take all the time.
    environment = {**os.environ, "GOMP_SPINCOUNT": "10000"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def build(name: str) -> nn.Module:
    """The network for its training size, with random weights."""
    torch.manual_seed(0)
    if name != REFERENCE:
        return KINDS[name].build()
    reference = Reference()
    assert count_parameters(reference)[0] == RITNET_PARAMETERS
    return reference


def train_size(name: str) -> tuple[int, int]:
    """Height and width of what it trains on."""
    return FRAME if name == REFERENCE else (FRAME[0] // 2, FRAME[1] // 2)


def answer(name: str, repeats: int) -> dict[str, float]:
    """The network's size, and the median milliseconds of a whole frame by runtime and threads."""
    import onnxruntime

    core = build(name).eval()
    network = core if name == REFERENCE else AtFullSize(core).eval()
    frame = torch.randn(1, 1, *FRAME)
    card = ModelCard(name, "benchmark", eye_preprocessing(*FRAME), [], {}, {}, name)
    content = onnx_bytes(network, card, frame, False)
    runs: dict[str, Callable[[], object]] = {}
    for threads in (1, 2):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        runs[f"ort {threads}"] = lambda session=session: session.run(None, {INPUT: frame.numpy()})  # type: ignore[misc]
        runs[f"torch {threads}"] = lambda threads=threads: in_torch(network, frame, threads)  # type: ignore[misc]
    times: dict[str, list[float]] = {key: [] for key in runs}
    for turn in range(repeats + 1):
        for key, run in runs.items():
            started = time.perf_counter()
            run()
            if turn:
                times[key].append(1000 * (time.perf_counter() - started))
    size = {"parameters": count_parameters(core)[0], "gmacs": count_macs(network, *FRAME) / 1e9, "bytes": len(content)}
    return {**size, **{key: median(values) for key, values in times.items()}}


@torch.inference_mode()
def in_torch(network: nn.Module, frame: Tensor, threads: int) -> Tensor:
    torch.set_num_threads(threads)
    return network(frame)


def train(name: str, repeats: int) -> dict[str, float]:
    """Images a second of forward, loss, backward and step, without reading and augmentation."""
    keep_freed_memory()
    torch.set_num_threads(2)
    network, batch = build(name).to(memory_format=torch.channels_last), BATCH.get(name, 8)
    optimizer = torch.optim.AdamW(network.parameters())
    images = torch.randn(batch, 1, *train_size(name)).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (batch, *train_size(name))).float()
    ellipses = torch.rand(batch, 4)

    def step() -> None:
        optimizer.zero_grad()
        out = network(images)
        if name == "ellipse":
            loss = ellipse_loss(out[0], ellipses).mean()
        else:
            loss = functional.binary_cross_entropy_with_logits(pupil_score(out), labels)
        loss.backward()
        optimizer.step()

    seconds = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return {"speed": batch / float(np.median(seconds[2:]))}


if __name__ == "__main__":
    main()
