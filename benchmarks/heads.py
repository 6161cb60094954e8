"""The fast head loop against what it replaces: other loaders, training the encoder, evaluating with the encoder.

    PYTHONPATH=src python benchmarks/heads.py [--rows N] [--rounds N]

Works on what `dvc repro` left: the prepared faces, their features, the heads. The loaders are compared on random
features, as many as a large data set has. Peak memory is that of a process that does only the one thing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from visage.config import Config, load_config
from visage.faces.config import HeadDesign
from visage.faces.data import load_classes, load_split
from visage.faces.evaluate import load_finetuned, predict_scores
from visage.faces.finetune import FinetuneTask
from visage.faces.finetune import loop_settings as finetune_settings
from visage.faces.head_model import load_head, predict
from visage.faces.head_task import FeatureSamples, HeadTask, training_samples
from visage.faces.heads import loop_settings
from visage.features.table import FeatureTable, load_table
from visage.runtime import peak_memory_mb, torch_device, tune
from visage.training.fit import fit

DATA, ENCODER = Path("data/processed/faces"), "artifacts/features/pretrain_encoder/encoder.safetensors"
DIM, CLASSES, ROWS_OF_A_FILE = 1280, 12, 64
LINEAR = HeadDesign([], 0.0)


class FilePerJob(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """What one writes first: a row from the NPZ file of its job, each time it is asked for."""

    def __init__(self, folder: Path, labels: np.ndarray) -> None:
        self.folder, self.labels = folder, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with np.load(self.folder / f"{index // ROWS_OF_A_FILE}.npz") as file:
            row = file["features"][index % ROWS_OF_A_FILE]
        return torch.from_numpy(row.astype(np.float32)), int(self.labels[index])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=MEASURED, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        seconds = MEASURED[options.only](options.rows)
        print(json.dumps([seconds, peak_memory_mb()]))
        return
    # They take turns, so that a slow minute hits all of them.
    found = [{name: alone(name, options.rows) for name in MEASURED} for _ in range(options.rounds)]
    pairs = (("npz", "memmap"), ("network", "heads"), ("inference", "cached"))
    print(f"{'what':52} seconds  ratio  peak MB")
    for slow, fast in pairs:
        for name in (slow, fast):
            seconds = median(row[name][0] for row in found)
            ratio = median(row[slow][0] / row[name][0] for row in found)
            text = (MEASURED[name].__doc__ or "").rstrip(".").format(rows=options.rows)
            print(f"{text:52} {seconds:7.3f}  {ratio:5.1f}  {median(row[name][1] for row in found):7.0f}")


def alone(name: str, rows: int) -> tuple[float, float]:
    """Seconds and peak MB of one measurement, in a process of its own."""
    command = [sys.executable, __file__, "--only", name, "--rows", str(rows)]
    seconds, memory = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    )
    return seconds, memory


def settings() -> Config:
    """The committed parameters, applied to this process."""
    config = load_config()
    tune(config.runtime)
    torch_device(config.runtime, config.seed)
    return config


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def random_features(rows: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(rows, DIM)).astype(np.float16), generator.integers(0, CLASSES, rows)


def npz(rows: int) -> float:
    """an epoch of a linear head, DataLoader over NPZ files"""
    settings()
    features, labels = random_features(rows)
    with tempfile.TemporaryDirectory(prefix="visage-") as folder:
        for start in range(0, rows, ROWS_OF_A_FILE):
            np.savez(Path(folder) / f"{start // ROWS_OF_A_FILE}.npz", features=features[start : start + ROWS_OF_A_FILE])
        loader = torch.utils.data.DataLoader(FilePerJob(Path(folder), labels), batch_size=128, shuffle=True)
        model = torch.nn.Linear(DIM, CLASSES)
        optimizer = torch.optim.AdamW(model.parameters())

        def epoch() -> None:
            for batch, target in loader:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(batch), target).backward()
                optimizer.step()

        return timed(epoch)


def memmap(rows: int) -> float:
    """the same on the memory-mapped array, by the loop"""
    config = settings()
    features, labels = random_features(rows)
    with tempfile.TemporaryDirectory(prefix="visage-") as folder:
        np.save(Path(folder) / "features.npy", features)
        mapped = np.load(Path(folder) / "features.npy", mmap_mode="r")
        zeros, ones = np.zeros(DIM, np.float32), np.ones(DIM, np.float32)
        samples = FeatureSamples(FeatureTable(mapped, [], zeros, ones, {}), np.arange(rows), labels.tolist())
        few = FeatureSamples(samples.table, np.arange(128), labels[:128].tolist())
        plain = replace(config.heads, noise=0.0, mixup=0.0, epochs=1)
        return train_head(config, plain, LINEAR, samples, few)


def train_head(
    config: Config, heads: object, design: HeadDesign, train: FeatureSamples, valid: FeatureSamples
) -> float:
    runtime = replace(config.runtime, processes=1, threads=1, loaders=0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="visage-") as state:
        factory = lambda: HeadTask(heads, design, CLASSES, train, valid)  # type: ignore[arg-type]  # noqa: E731
        return timed(lambda: fit(factory, loop_settings(heads, config.seed), runtime, Path(state)))  # type: ignore[arg-type]


def network(_rows: int) -> float:
    """10 epochs of the whole network on the prepared faces"""
    config = settings()
    whole = replace(config.finetune, freeze_ratio=0.0, epochs=10, batch_size=32, micro_batch=32, early_stop=0)
    size = config.faces.prepare.size
    factory = lambda: FinetuneTask(whole, DATA, ENCODER, size, config.seed)  # noqa: E731
    with tempfile.TemporaryDirectory(prefix="visage-") as state:
        return timed(lambda: fit(factory, finetune_settings(whole, config.seed), config.runtime, Path(state)))


def heads(_rows: int) -> float:
    """10 epochs of all heads on their cached features"""
    config = settings()
    table = load_table(Path("data/features") / config.features.encoder)
    train, valid = training_samples(table, load_classes(DATA))
    whole = replace(config.heads, epochs=10, early_stop=0)
    return sum(train_head(config, whole, design, train, valid) for design in whole.designs.values())


def inference(_rows: int) -> float:
    """evaluation with the encoder, pictures decoded"""
    config = settings()
    classes = load_classes(DATA)
    model, _ = load_finetuned(Path("artifacts/faces/finetune_faces/best_model.pth"))
    test = load_split(DATA, "test", classes)
    return timed(lambda: predict_scores(model, test, config.faces.prepare.size, torch.device("cpu")))


def cached(_rows: int) -> float:
    """evaluation on cached features"""
    config = settings()
    table = load_table(Path("data/features") / config.features.encoder)
    model, _ = load_head(Path("artifacts/faces/train_heads/exp_mlp/checkpoints/best_head.pt"))
    return timed(lambda: predict(model, table, table.split("test"), torch.device("cpu")))


MEASURED: dict[str, Callable[[int], float]] = {
    function.__name__: function for function in (npz, memmap, network, heads, inference, cached)
}

if __name__ == "__main__":
    main()
