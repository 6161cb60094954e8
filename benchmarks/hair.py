"""The ways to a hair mask side by side: pictures a second at 256, 384 and 512 pixels, beside MediaPipe in the same run.

    PYTHONPATH=src python benchmarks/hair.py [--rounds N] [--threads N] [--mediapipe hair_segmenter.tflite]

From an uint8 picture in memory to its coverage at that size. The networks have random weights, which decide no time,
and run in ONNX Runtime as exported, as `visage.serving` runs them; GrabCut works on drawn portraits. The ways take
turns within a round, so that a slow minute hits all of them, and the median of the rounds counts. MediaPipe brings
every picture to its model's own size and has threads of its own. For patches and recolouring: stitching.py, recolor.py.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from visage.export.card import ModelCard
from visage.export.to_onnx import INPUT, onnx_bytes
from visage.features import encoders
from visage.hair.context import RESNET, build_context
from visage.hair.data import hair_preprocessing
from visage.hair.grabcut import segment_hair
from visage.hair.mediapipe_hair import HairSegmenter
from visage.hair.networks import CLASSES, KINDS
from visage.runtime import peak_memory_mb
from visage.synthetic.wild import WildSpec, draw_wild_one
from visage.vision.normalise import normalise

SIZES = (256, 384, 512)
PICTURES = 4
Segment = Callable[[NDArray[np.uint8]], object]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mediapipe", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(options.threads)
    torch.set_num_threads(options.threads)
    print(f"pictures/s, {options.threads} threads\n{'way':20}" + "".join(f"  {size:>7} px" for size in SIZES))
    with ways(options.threads, options.mediapipe) as found:
        rates: dict[str, list[float]] = {name: [] for name in found}
        for size in SIZES:
            pictures = [draw_wild_one(WildSpec(0, source, 0, size, 0)).image for source in range(PICTURES)]
            seconds: dict[str, list[float]] = {name: [] for name in found}
            for turn in range(options.rounds + 1):
                for name, segment in found.items():
                    started = time.perf_counter()
                    for picture in pictures:
                        segment(picture)
                    if turn:
                        seconds[name].append(time.perf_counter() - started)
            for name, taken in seconds.items():
                rates[name].append(PICTURES / median(taken))
    for name, row in rates.items():
        print(f"{name:20}" + "".join(f"  {rate:10.1f}" for rate in row))
    print(f"peak memory of all together: {peak_memory_mb():.0f} MB")


@contextmanager
def ways(threads: int, mediapipe: Path | None) -> Iterator[dict[str, Segment]]:
    """Every way by name, MediaPipe where its model is given."""
    found: dict[str, Segment] = {"grabcut": segment_hair}
    with tempfile.TemporaryDirectory(prefix="visage-") as folder, ExitStack() as stack:
        for arch in KINDS:
            found[arch] = partial(answer, session(arch, threads, Path(folder)))
        if mediapipe is not None:
            found["mediapipe"] = stack.enter_context(HairSegmenter(mediapipe))
        yield found


def session(arch: str, threads: int, folder: Path) -> onnxruntime.InferenceSession:
    """`arch` with random weights in ONNX Runtime."""
    torch.manual_seed(0)
    context = build_context(encoders.mobilenet_v3_small.__name__ if KINDS[arch].pretrained else RESNET)
    network = KINDS[arch].build(context).eval()
    card = ModelCard(arch, "segmentation", hair_preprocessing(SIZES[0]), list(CLASSES), {}, {}, arch)
    path = folder / f"{arch}.onnx"
    path.write_bytes(onnx_bytes(network, card, torch.zeros(1, 3, SIZES[0], SIZES[0]), dynamic_size=True))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answer(network: onnxruntime.InferenceSession, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The coverage of `picture`, H x W float32."""
    batch = normalise(picture, hair_preprocessing(picture.shape[0]))[None]
    logits = network.run(None, {INPUT: batch})[0][0]
    return 1 / (1 + np.exp(logits[0] - logits[1]))


if __name__ == "__main__":
    main()
