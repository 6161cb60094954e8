"""How far the hair segmenter is from MediaPipe's on photographs, which have no masks: IoU of their answers.

    PYTHONPATH=src python benchmarks/photographs.py FOLDER --mediapipe FILE [--model CHECKPOINT] [--sizes 256 384 512]

Pictures named *mask* are left out, but for a picture NAME.png with NAME_hairmask.png both are compared with that mask
too, and the second mean has it instead of MediaPipe's answer. sizes: pixels of the network's input, a multiple of 32;
heads are small in photographs, and larger in a larger one.
The last column is the closer look of `visage predict --closer`.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from visage.hair.data import hair_preprocessing
from visage.hair.mediapipe_hair import HairSegmenter
from visage.hair.networks import load_network
from visage.io.images import read_image
from visage.serving.closer import FACTORS, look_closer
from visage.serving.tasks import margin_of
from visage.vision.normalise import preprocess

MODEL = Path("artifacts/hair/train_hair_segmenter/best_model.pt")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
Mask = NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mediapipe", type=Path, required=True, help="hair_segmenter.tflite")
    parser.add_argument("--model", type=Path, default=MODEL, help="a checkpoint of train_hair_segmenter")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 384, 512])
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, saved = load_network(options.model)
    looks: dict[str, Callable[[NDArray[np.uint8]], Mask]] = {
        **{f"{size} px": partial(answer, network, size) for size in options.sizes},
        "closer": partial(closer, network, saved["size"]),
    }
    found: dict[str, list[float]] = {name: [] for name in looks}
    best: dict[str, list[float]] = {name: [] for name in looks}  # with the better ruler
    seconds: dict[str, list[float]] = {name: [] for name in looks}
    print(f"{'picture':24}" + "".join(f"{name:>10}" for name in looks))
    with HairSegmenter(options.mediapipe) as mediapipe:
        for path in sorted(options.folder.iterdir()):
            if path.suffix.lower() not in SUFFIXES or "mask" in path.stem:
                continue
            image = read_image(path)
            theirs = mediapipe(image) > 0.5
            drawn = path.with_name(f"{path.stem}_hairmask.png")
            truth = read_image(drawn)[..., 0] > 127 if drawn.is_file() else None
            for name, look in looks.items():
                started = perf_counter()
                mask = look(image)
                seconds[name].append(perf_counter() - started)
                found[name].append(iou(mask, theirs))
                best[name].append(iou(mask, theirs if truth is None else truth))
            print(f"{path.stem:24}" + "".join(f"{values[-1]:10.3f}" for values in found.values()))
            if truth is not None:
                told = "".join(f"{values[-1]:10.3f}" for values in best.values())
                print(f"{'  its own mask':24}{told}, MediaPipe {iou(theirs, truth):.3f}")
    for title, values_of in (("mean", found), ("mean, own masks if any", best), ("seconds, one thread", seconds)):
        print(f"{title:24}" + "".join(f"{mean(values):10.3f}" for values in values_of.values()))


def answer(network: torch.nn.Module, size: int, image: NDArray[np.uint8]) -> Mask:
    """H x W bool: where `network` sees hair in H x W x 3 uint8 RGB, asked at `size` pixels."""
    card = hair_preprocessing(size)
    return margin_of(ask(network, preprocess(image, card)[None])[0], image.shape[0], image.shape[1], card) > 0


def closer(network: torch.nn.Module, size: int, image: NDArray[np.uint8]) -> Mask:
    """H x W bool: where a closer look by `network`, trained at `size` pixels, sees hair."""
    card = hair_preprocessing(FACTORS[-1] * size)
    logits = look_closer(partial(ask, network), preprocess(image, card)[None], size)[0]
    return margin_of(logits, image.shape[0], image.shape[1], card) > 0


def ask(network: torch.nn.Module, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return network(torch.from_numpy(batch)).numpy()


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union, 1 where neither has anything."""
    either = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / either if either else 1.0


if __name__ == "__main__":
    main()
