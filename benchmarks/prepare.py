"""Preparation of originals for inpainting: pictures a second, what each step takes, and two workers beside one.

    PYTHONPATH=src python benchmarks/prepare.py [--pictures N] [--size S] [--yunet face_detection_yunet_2023mar.onnx]

Drawn portraits of 512 pixels in the layout of K-Hairstyle, in a temporary folder, through the job store as
`prepare_inpaint` does it, without its embedder (`--encoder FOLDER` of pretrain_encoder adds that). One and two workers
take turns, on fresh stores; the ratio of their medians counts. Steps are timed in this process, one thread, on the same
pictures.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.hair.config import SynthesizeHair
from visage.hair.synthesize import synthesize
from visage.inpaint.config import PrepareInpaint
from visage.inpaint.identity import open_embedder
from visage.inpaint.originals import list_originals
from visage.inpaint.pictures import find_face, hair_alone, identify, patch_places, prepare_picture, style_image
from visage.inpaint.prepare_work import PrepareWork, original_item, pack
from visage.io.images import read_file
from visage.io.khairstyle import parse_record, read_square
from visage.io.khairstyle_rings import fill_rings
from visage.jobs.queue import run_queue
from visage.runtime import peak_memory_mb
from visage.vision.bald import remove_hair
from visage.vision.detect import open_detector
from visage.vision.resize import resize

WHOLE, CORES, NIGHT = 89_509, 8, 10  # K-Hairstyle's pictures with labels; cores; hours
SETTINGS = PrepareInpaint(
    size=512, min_side=256, growth=0.03, detector="none", detector_file="", detector_score=0.6, embedder="none",
    embedder_file="", sharpness=20, patch=128, patch_stride=64, patch_hair=0.85, patches_per_source=16, style=224,
    images_per_job=8, train=0.7, val=0.1, test=0.2, max_bad_fraction=0.05,
)  # fmt: skip
Pixels = NDArray[np.uint8]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--yunet", type=Path)
    parser.add_argument("--encoder", type=Path)
    options = parser.parse_args()
    settings = replace(SETTINGS, size=options.size)
    if options.encoder:
        settings = replace(settings, embedder="encoder")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthesize(SynthesizeHair(options.pictures, 1, 512, 0.0, 1.0), seed=1, out=folder / "raw")
        encoder = (options.encoder or folder).absolute()
        steps(folder / "raw", settings, options.yunet, encoder)
        rates: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(options.rounds):
            for workers in rates:
                store = folder / f"jobs_{turn}_{workers}"
                rates[workers].append(rate(folder / "raw", settings, encoder, store, workers))
    one, two = (median(values) for values in rates.values())
    print(f"one worker {one:.1f} pictures/s, two {two:.1f}: {two / one:.2f} times")
    hours = WHOLE / (one * CORES) / 3600
    print(f"{WHOLE:,} pictures on {CORES} such cores: {hours:.1f} hours ({'a' if hours < NIGHT else 'no'} night)")


def rate(raw: Path, settings: PrepareInpaint, encoder: Path, store: Path, workers: int) -> float:
    """Pictures a second through the job store, the workers' start included."""
    originals, _ = list_originals(raw)
    items = [original_item(raw, original.picture, original.label) for original in originals]
    work = PrepareWork(settings, raw, ("", ""), encoder)
    started = time.perf_counter()
    done = run_queue(work, items, 4, root=store, workers=workers, use=lambda _: None)
    assert done.computed
    return len(items) / (time.perf_counter() - started)


def steps(raw: Path, settings: PrepareInpaint, yunet: Path | None, encoder: Path) -> None:
    """Print the milliseconds of each step and its share, and what one process holds."""
    cv2.setNumThreads(1)
    originals, _ = list_originals(raw)
    detector = open_detector("yunet", yunet, 0.6) if yunet else None
    embedder = open_embedder(settings.embedder, Path(), encoder)
    seconds: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[..., object], *arguments: object) -> None:
        started = time.perf_counter()
        call(*arguments)
        seconds.setdefault(name, []).append(time.perf_counter() - started)

    for original in originals:
        record = parse_record(read_file(raw / original.label, original.label), original.label)
        picture = read_square(raw, original.picture)
        timed("read", read_square, raw, original.picture)
        image = resize(picture, settings.size, settings.size)
        mask = fill_rings(record.hair, settings.size)
        timed("mask", fill_rings, record.hair, settings.size)
        timed("bald", remove_hair, image, mask, settings.growth)
        timed("style image", style_image, image, mask, settings.style)
        timed("hair alone", hair_alone, image, mask)
        timed("patches", patch_places, mask, settings)
        if detector:
            timed("detector", find_face, image, [], detector, "yunet")
        face, _ = find_face(image, record.face, None, "none")
        timed("identity", identify, image, face, detector, embedder, settings)
        prepared = prepare_picture(picture, record.hair, record.face, settings, None, embedder)
        timed("PNG and pack", pack, prepared)
    whole = sum(median(values) for values in seconds.values())
    for name, values in seconds.items():
        print(f"{name:22} {1000 * median(values):7.1f} ms  {median(values) / whole:5.0%}")
    print(json.dumps({"pictures": len(originals), "memory of this process, MB": round(peak_memory_mb())}))


if __name__ == "__main__":
    main()
