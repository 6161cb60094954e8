"""Feature extraction: a plain loop, ours, and the network alone (the ceiling), in one run.

    PYTHONPATH=src python benchmarks/features.py [--encoders NAME...] [--pictures N] [--rounds N]

The pictures are 512 px JPEGs of drawn people, the weights random (speed does not depend on them), the input 224 px. The
plain loop is PIL and eager torch at batch 8 (and 32) with both cores and glibc's own allocator; ours is everything that
`extract_features` does: claims, decoding, features, checksums and records on the disk. Rates are without the start of
the workers, which is given beside them.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from visage.features.backends import prepare_backend
from visage.features.config import Features
from visage.features.extraction import Extraction
from visage.io.atomic import sha256_file, write_bytes, write_json
from visage.io.images import encode_jpeg
from visage.jobs.plan import Item
from visage.jobs.queue import Results, run_queue
from visage.jobs.work import Compute, Outcome
from visage.runtime import peak_memory_mb, worker_count
from visage.synthetic.draw import Spec, draw_many

SETTINGS = Features("", "file", None, "avg", 224, "torch", "fp32", 16, 64, 0.0)
VARIANTS = (("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16"))
PLAIN = """
import sys, time, json
import timm, torch
from PIL import Image
from torchvision import transforms
name, batch, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
model = timm.create_model(name, num_classes=0).eval()
transform = transforms.Compose([
    transforms.Resize((224, 224)), transforms.ToTensor(),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
])
def run(batch):
    with torch.no_grad():
        return model(torch.stack([transform(Image.open(file).convert("RGB")) for file in batch])).numpy()
run(files[:batch])
started = time.perf_counter()
for start in range(0, len(files), batch):
    run(files[start:start + batch])
print(json.dumps(len(files) / (time.perf_counter() - started)))
"""


@dataclass(frozen=True)
class Watched(Extraction):
    """Extraction that notes each worker's peak memory in the folder of the encoder."""

    def open(self) -> Compute:
        compute = super().open()

        def watched(items: Sequence[Item]) -> Outcome:
            outcome = compute(items)
            process = multiprocessing.current_process()
            (self.encoder / f"{process.pid}.peak").write_text(str(peak_memory_mb()))
            return outcome

        return watched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", default=["mobilenetv3_small_100", "efficientnet_b0"])
    parser.add_argument("--pictures", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="visage-") as folder:
        files = draw_files(Path(folder) / "pictures", options.pictures)
        for encoder in options.encoders:
            measure(encoder, files, Path(folder) / encoder, options.rounds)


def draw_files(folder: Path, count: int) -> list[Path]:
    """`count` different 512 px JPEGs of quality 90, some tens of kB each as photographs are."""
    folder.mkdir()
    portraits = [portrait.image for portrait in draw_many([Spec(1, person, 0, 0, 512) for person in range(8)])]
    noise = np.random.default_rng(0)
    for number in range(count):
        image = portraits[number % len(portraits)] + noise.normal(0, 4, (512, 512, 1))
        (folder / f"{number:05d}.jpg").write_bytes(encode_jpeg(image.clip(0, 255).astype(np.uint8), 90))
    return sorted(folder.iterdir())


def measure(encoder: str, files: list[Path], folder: Path, rounds: int) -> None:
    """Print the table of one encoder; the settings take turns, so that a slow minute hits all of them."""
    items = [Item(sha256_file(file), str(file)) for file in files]
    write_encoder(encoder, folder)
    plain: dict[int, list[float]] = {8: [], 32: []}
    ours: dict[tuple[str, str], list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds):
        for batch, found in plain.items():
            found.append(plain_loop(encoder, batch, files[: min(len(files), 160)]))
        for backend, precision in VARIANTS:
            settings = replace(SETTINGS, encoder=encoder, backend=backend, precision=precision)
            prepare_backend(settings, folder)
            work = Watched(settings, folder, sha256_file(folder / "encoder.safetensors"), "cpu")
            row = extraction(work, items, folder / f"jobs-{number}-{backend}-{precision}")
            ours[backend, precision].append(row | {"ceiling": ceiling(work)})
    print(f"\n{encoder}, 224 px, {len(files)} JPEGs of 512 px, {worker_count()} workers, median of {rounds}")
    print("setting            images/s  x plain loop  % of the ceiling  s/job of 64  start s  GB in all")
    for batch, found in plain.items():
        gain = median(one / base for one, base in zip(found, plain[8], strict=True))
        print(f"{f'plain loop, {batch}':17}  {median(found):8.1f}  {gain:12.1f}")
    for (backend, precision), rows in ours.items():
        row = {name: median(one[name] for one in rows) for name in rows[0]}
        share = median(one["rate"] / one["ceiling"] for one in rows)
        gain = median(one["rate"] / base for one, base in zip(rows, plain[8], strict=True))
        print(f"{backend + ' ' + precision:17}  {row['rate']:8.1f}  {gain:12.1f}  {share:16.0%}  "
              f"{row['job']:11.2f}  {row['start']:7.1f}  {row['memory']:9.2f}")  # fmt: skip


def write_encoder(name: str, folder: Path) -> None:
    """A random encoder as `extract_features` leaves it."""
    from safetensors.torch import save

    from visage.features.timm_encoders import build_encoder

    state = build_encoder(name, "avg").state_dict()
    write_bytes(folder / "encoder.safetensors", save(state))
    write_json(folder / "encoder.json", {"encoder": name, "global_pool": "avg"})


def plain_loop(encoder: str, batch: int, files: list[Path]) -> float:
    """Images per second of the plain loop, in a process of its own that nothing has tuned."""
    command = [sys.executable, "-c", PLAIN, encoder, str(batch), *map(str, files)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def extraction(work: Watched, items: list[Item], root: Path) -> dict[str, float]:
    """Images per second between the first and the last job's end, seconds of a job and of the start, memory in GB."""
    for old in work.encoder.glob("*.peak"):
        old.unlink()
    ends: list[float] = []
    started = time.perf_counter()

    def engine(*arguments: Any) -> Any:
        from visage.jobs.local import run_local

        for job in run_local(*arguments):
            if job is not None:
                ends.append(time.perf_counter())
            yield job

    found: list[Results] = []
    run_queue(work, items, 64, root=root, engine=engine, use=found.append)
    seconds = [record.seconds for record in found[0].store.records().values()]
    # Counted from when every worker has ended its first job, or nearly: what they took to start is given apart.
    first = worker_count() - 1
    rate = 64 * (len(seconds) - 1 - first) / (sorted(ends)[len(seconds) - 1] - sorted(ends)[first])
    memory = sum(float(path.read_text()) for path in work.encoder.glob("*.peak")) + peak_memory_mb()
    start = min(ends) - started - median(seconds)
    return {"rate": rate, "job": median(seconds), "start": start, "memory": memory / 1024}


def ceiling(work: Extraction) -> float:
    """Images per second of the network alone on pictures in memory, in as many processes as ours has."""
    context = multiprocessing.get_context("spawn")
    barrier, count = context.Barrier(worker_count()), worker_count()
    with context.Pool(count, initializer=_meet, initargs=(barrier,)) as pool:
        return sum(pool.map(_forward, [work] * count, chunksize=1))


_barrier: Any = None


def _meet(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _forward(work: Extraction) -> float:
    from visage.features.backends import open_backend
    from visage.jobs.worker import start_worker

    start_worker()
    run: Callable[[np.ndarray], np.ndarray] = open_backend(work.settings, work.encoder, work.device, threads=1)
    batch = np.random.default_rng(0).integers(0, 256, (work.settings.batch_size, 224, 224, 3), dtype=np.uint8)
    for _ in range(3):
        run(batch)
    _barrier.wait()
    batches, started = 0, time.perf_counter()
    while time.perf_counter() - started < 3:
        run(batch)
        batches += 1
    return batches * len(batch) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
