"""Jobs, storage, hours and cost of a set of any size, from what was measured: the tables of docs/scaling.md.

    python benchmarks/estimate.py [--images 100000 100000000]

Every rate is read from benchmarks/README.md, where the benchmarks' output is kept, and a test compares the tables with
those in the document: who measures again changes both or is told. Rates are of one core of that machine; what other
machines do, and a GPU, was not measured.
"""

import argparse
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MEASURED_CORES = 2  # of the machine on which features.py ran two workers
IMAGES_PER_JOB = 64  # features.images_per_job
CORES = 256  # of the cluster in the tables
DOLLARS = 0.05  # a core for an hour; nobody's price list: put yours
PICTURE_KB = 24.4  # a prepared face of 128 pixels, PNG: 22.0 MB in 903 files
CHECKS = 3  # times that one process reads each result: when the queue is done, for the statistics, for the table


@dataclass(frozen=True)
class Rate:
    """One kind of work. images_per_second: of one worker on one core."""

    work: str
    images_per_second: float

    def core_hours(self, images: int, overhead_s: float) -> float:
        """Hours of one core for `images`, each job costing `overhead_s` beside its images."""
        return (images / self.images_per_second + jobs(images) * overhead_s) / 3600


def jobs(images: int) -> int:
    """How many jobs `images` are cut into."""
    return math.ceil(images / IMAGES_PER_JOB)


@dataclass(frozen=True)
class Measured:
    """What benchmarks/README.md says of a job.

    overhead_s: of a worker. alone_s: of the one process that plans and checks. late_s: of a worker that begins when the
    job is done. handed_out: bytes.
    """

    rates: tuple[Rate, ...]
    overhead_s: float
    alone_s: float
    late_s: float
    handed_out: float


def measured(text: str) -> Measured:
    """Find the rates in `text`, the content of benchmarks/README.md.

    Raises:
        ValueError: one of them is not there, or there twice.
    """
    rates = []
    for encoder in ("mobilenetv3_small_100", "efficientnet_b0"):
        table = only(rf"^{encoder}, 224 px[\s\S]*?(?:\n\n|```)", text)
        for setting in ("torch fp32", "openvino bf16"):
            rate = float(only(rf"^{setting} +([\d.]+)", table)) / MEASURED_CORES
            rates.append(Rate(f"`extract_features`, {encoder}, {setting}", rate))
    prepared = only(r"one worker prepares ([\d.]+) pictures/s", text)
    rates.append(Rate("`prepare_inpaint` without embedder", float(prepared)))
    overhead = float(only(r"Jobs of one item that do nothing, 1000 of them: ([\d.]+) ms each", text)) / 1000
    steps = only(r"^ms for a job of(.*)KB handed out$", text)
    numbers = only(rf"^ +{IMAGES_PER_JOB} images +([\d. ]+)$", text).split()
    cost = dict(zip(re.split(r" {2,}", steps.strip()), map(float, numbers), strict=False))
    alone = cost["plan"] + cost["prepare"] + cost["is it done"] + CHECKS * cost["check"]
    return Measured(tuple(rates), overhead, alone / 1000, cost["index"] / 1000, 1000 * float(numbers[-1]))


def only(pattern: str, text: str) -> str:
    """What `pattern` finds in `text`, or its group."""
    found = re.findall(pattern, text, re.M)
    if len(found) != 1:
        raise ValueError(f"benchmarks/README.md: {pattern!r} is found {len(found)} times, not once")
    return found[0]


def tables(sizes: Sequence[int], known: Measured, dim: int) -> str:
    """The two tables, in Markdown; `dim`: features of a picture."""
    first, largest = sizes[0], sizes[-1]
    head = (
        f"| work | images/s of a core | core-hours, {first:,} | core-hours, {largest:,} | hours on {CORES} cores | $ |"
    )
    lines = [head, "|---" * 6 + "|"]
    for rate in known.rates:
        hours = [rate.core_hours(size, known.overhead_s) for size in (first, largest)]
        # No worker works while one process plans and checks.
        elapsed = hours[1] / CORES + jobs(largest) * known.alone_s / 3600
        lines.append(
            f"| {rate.work} | {rate.images_per_second:.1f} | {hours[0]:.2f} | {hours[1]:,.0f} | "
            f"{elapsed:.1f} | {hours[1] * DOLLARS:,.0f} |"
        )
    rows = {
        f"jobs of {IMAGES_PER_JOB} images": lambda size: f"{jobs(size):,}",
        f"results in the job store, {dim} float32 an image": lambda size: gigabytes(size * dim * 4),
        f"the table that heads train on, {dim} float16": lambda size: gigabytes(size * dim * 2),
        "prepared faces of 128 pixels, PNG": lambda size: gigabytes(size * PICTURE_KB * 1000),
        "one process alone: plan, look, check, put together": lambda size: duration(jobs(size) * known.alone_s),
        "a worker that joins at the end reads for": lambda size: duration(jobs(size) * known.late_s),
        "what is handed out to workers": lambda size: gigabytes(jobs(size) * known.handed_out),
    }
    lines += ["", "| | " + " | ".join(f"{size:,} images" for size in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(value(size) for size in sizes) + " |" for name, value in rows.items()]
    return "\n".join(lines)


def gigabytes(size: float) -> str:
    """`size` bytes for people."""
    return f"{size / 1e12:,.1f} TB" if size >= 1e12 else f"{size / 1e9:,.2f} GB"


def duration(seconds: float) -> str:
    """`seconds` for people."""
    return f"{seconds / 60:,.0f} minutes" if seconds >= 120 else f"{seconds:.1f} s"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 100_000_000])
    options = parser.parse_args()
    known = measured((ROOT / "benchmarks/README.md").read_text(encoding="utf-8"))
    dim = json.loads((ROOT / "metrics/extract_features.json").read_text(encoding="utf-8"))["dim"]
    print(tables(options.images, known, dim))


if __name__ == "__main__":
    main()
