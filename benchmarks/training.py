"""Training speed: images/s of finetuning by threads, processes, loaders, layout and allocator, in one run.

    PYTHONPATH=src python benchmarks/training.py [--rounds 3]

Every setting is a process of its own (thread counts are fixed when torch loads), the settings take turns so that a slow
minute of the machine touches all of them, and the ratio to the first line is what counts. The default of
conf/runtime/cpu.yaml is meant to be the best line.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
# name: (processes, threads, loaders, layout, allocator tuned, environment)
SETTINGS: dict[str, tuple[int, int, int, str, bool, dict[str, str]]] = {
    "1 process x 1 thread": (1, 1, 0, "channels_last", True, {}),
    "1 x 1, glibc's own allocator": (1, 1, 0, "channels_last", False, {}),
    "1 x 1, contiguous": (1, 1, 0, "contiguous", True, {}),
    "1 x 1, 1 loader": (1, 1, 1, "channels_last", True, {}),
    "1 x 2 threads": (1, 2, 0, "channels_last", True, {}),
    "1 x 2 threads, passive": (1, 2, 0, "channels_last", True, PASSIVE),
    "1 x 2 threads, pinned": (1, 2, 0, "channels_last", True, {"OMP_PROC_BIND": "true"}),
    "1 x 2 threads, 1 loader": (1, 2, 1, "channels_last", True, {}),
    "2 processes x 1 thread": (2, 1, 0, "channels_last", True, {}),
    "2 x 1, contiguous": (2, 1, 0, "contiguous", True, {}),
    "2 x 1, 1 loader each": (2, 1, 1, "channels_last", True, {}),
}
PICTURES, SIZE, EPOCHS = 384, 128, 3


def run(name: str, freeze_ratio: float, batch: int) -> dict[str, float]:
    """images/s of setting `name` and the peak memory of its first process, measured in this process."""
    import numpy as np

    from visage import runtime as runtime_module
    from visage.runtime import Runtime, peak_memory_mb

    processes, threads, loaders, layout, allocator, _ = SETTINGS[name]
    if not allocator:
        runtime_module.keep_freed_memory = lambda: False
    runtime = Runtime("cpu", processes, threads, loaders, "fp32", layout, True, 16.0, 0.0)
    runtime_module.tune(runtime)

    from visage.faces.config import Finetune
    from visage.faces.data import face_preprocessing
    from visage.faces.finetune import FinetuneTask
    from visage.faces.model import build_classifier
    from visage.features.samples import PictureSamples
    from visage.tracking.base import NullTracker
    from visage.training.fit import fit
    from visage.training.task import Settings
    from visage.vision.augment import Augmentation

    class Clock(NullTracker):
        def __init__(self) -> None:
            self.times: list[float] = []

        def metrics(self, values: Mapping[str, float], step: int) -> None:
            self.times.append(time.perf_counter())

    settings = Finetune(
        arch="mobilenet_v3_small", weights="none", freeze_ratio=freeze_ratio, lr=5e-4, weight_decay=1e-4
    )
    settings.unfreeze_last_blocks = None

    class Task(FinetuneTask):
        def __init__(self) -> None:
            pictures = np.random.default_rng(0).integers(0, 256, (PICTURES, SIZE, SIZE, 3), np.uint8)
            self.settings, self.model = settings, build_classifier(settings, "", 12)
            labels, shape = [(i % 12,) for i in range(PICTURES)], face_preprocessing(SIZE)
            self.train_samples = PictureSamples(pictures.__getitem__, labels, shape, Augmentation(), 0)
            self.valid_samples = PictureSamples(pictures.__getitem__, labels[:16], shape, None, 0)

    clock = Clock()
    loop = Settings(epochs=EPOCHS, batch_size=batch, micro_batch=batch, seed=0, monitor="accuracy")
    with tempfile.TemporaryDirectory() as directory, open(os.devnull, "w") as quiet:
        sys.stdout, shown = quiet, sys.stdout
        fit(partial(Task), loop, runtime, Path(directory), clock)
        sys.stdout = shown
    return {"images_per_s": PICTURES * (EPOCHS - 1) / (clock.times[-1] - clock.times[0]), "peak_mb": peak_memory_mb()}


def measure(name: str, freeze_ratio: float, batch: int) -> dict[str, Any]:
    """`run` in a process of its own."""
    environment = os.environ | SETTINGS[name][5]
    command = [sys.executable, __file__, "--setting", name, "--freeze", str(freeze_ratio), "--batch", str(batch)]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


@contextmanager
def neighbour() -> Iterator[None]:
    """Another process that wants a core, as on any shared machine."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Measure all settings by turns and print a table for each share of frozen layers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--setting", choices=SETTINGS)
    parser.add_argument("--freeze", type=float, default=0.7)
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    if arguments.setting:
        print(json.dumps(run(arguments.setting, arguments.freeze, arguments.batch)))
        return
    for freeze_ratio, batch, busy in ((0.7, 16, False), (0.0, 32, False), (0.0, 32, True)):
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in arguments.only}
        with neighbour() if busy else nullcontext():
            for _ in range(arguments.rounds):
                for name in arguments.only:
                    results[name].append(measure(name, freeze_ratio, batch))
        beside = ", a busy process beside it" if busy else ""
        print(f"\nmobilenet_v3_small, {SIZE} px, batch {batch}, {freeze_ratio:.0%} of the layers frozen{beside}")
        print(f"{'setting':32} {'images/s':>9} {'ratio':>6} {'peak MB of the first process':>30}")
        first = None
        for name, runs in results.items():
            speed = statistics.median(run["images_per_s"] for run in runs)
            first = first or speed
            print(f"{name:32} {speed:9.0f} {speed / first:6.2f} {statistics.median(r['peak_mb'] for r in runs):30.0f}")


if __name__ == "__main__":
    main()
