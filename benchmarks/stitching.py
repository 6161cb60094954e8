"""Patches: the rate of the encoder, of encoder and head with blending, and the memory that one large picture takes.

    PYTHONPATH=src python benchmarks/stitching.py [--side 8192] [--patches 64] [--threads 1]

The weights are random (speed does not depend on them) and the picture is noise. The large picture is a PNG that is
decoded and stitched in a process of its own; the peak is that of the whole process, picture and coverage included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from visage.features import encoders
from visage.hair.patch_encoder import MapEncoder
from visage.hair.patch_head import PatchHead
from visage.hair.patch_segmenter import PatchSegmenter
from visage.io.images import encode_png, read_image
from visage.runtime import keep_freed_memory, peak_memory_mb
from visage.vision.patches import RowStitcher, grid

SIZE, OVERLAP, BATCH, WIDTH = 256, 64, 4, 32
MEGA = 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--patches", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--picture", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    if options.picture:
        print(json.dumps(stitch(options.picture)))
        return
    print(f"{'what':44} {'MP/s':>8}  {'s/job of 16':>11}  {'peak MB':>8}")
    for what, seconds in rates(options.patches).items():
        rate, job = options.patches * SIZE**2 / MEGA / seconds, 16 * seconds / options.patches
        print(f"{what:44} {rate:8.2f}  {job:11.3f}")
    with tempfile.TemporaryDirectory(prefix="visage-") as folder:
        path, side = Path(folder) / "large.png", options.side
        path.write_bytes(encode_png(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)))
        command = [sys.executable, __file__, "--picture", str(path), "--threads", str(options.threads)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, memory = json.loads(done.stdout.splitlines()[-1])
    what = f"{side} x {side} px, {len(grid(side, side, SIZE, OVERLAP))} patches, {seconds:.0f} s"
    print(f"{what:44} {side * side / MEGA / seconds:8.2f}  {'':11}  {memory:8.0f}")


def segmenter() -> PatchSegmenter:
    """Random weights."""
    encoder = MapEncoder(encoders.build("mobilenet_v3_small", 1)).to(memory_format=torch.channels_last)
    channels = sum(shape.channels for shape in encoder.shapes)
    head = PatchHead(encoder.shapes, SIZE, WIDTH, torch.zeros(channels), torch.ones(channels)).eval()
    return PatchSegmenter(encoder, head, SIZE, OVERLAP, BATCH, torch.device("cpu"))


def rates(count: int) -> dict[str, float]:
    """Seconds for `count` patches, without reading and writing."""
    network, rng = segmenter(), np.random.default_rng(0)
    batches = [rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8) for _ in range(count // BATCH)]
    answer = np.ones((SIZE, SIZE), np.float32)

    @torch.inference_mode()
    def encode() -> None:
        for batch in batches:
            network.encoder(torch.from_numpy(batch)).half().numpy()

    def answers() -> None:
        for batch in batches:
            network.answers(batch)

    def blend() -> None:
        across = 8
        stitcher = RowStitcher(10**6, SIZE + (across - 1) * (SIZE - OVERLAP), SIZE, OVERLAP)
        for _ in range(count):
            stitcher.add(answer)

    found = {}
    for what, work in (("encoder to float16", encode), ("encoder and head", answers), ("blending alone", blend)):
        work()
        started = time.perf_counter()
        work()
        found[what] = time.perf_counter() - started
    return found


def stitch(path: Path) -> tuple[float, float]:
    """Seconds from the file to the mask, and the peak of this process in MB."""
    network = segmenter()
    started = time.perf_counter()
    network.coverage(read_image(path))
    return time.perf_counter() - started, peak_memory_mb()


if __name__ == "__main__":
    main()
