"""Near-infrared eye renderer: pictures/s with one and two worker processes, in one run.

    PYTHONPATH=src python benchmarks/nir_eyes.py [--pictures 200]

The processor seconds of a picture are printed beside the wall time, because they hold on a busy machine too.
"""

import argparse
import resource
import time

from visage.synthetic.nir_batch import EyeSpec, draw_eyes


def measure(workers: int, pictures: int) -> tuple[float, float]:
    """(pictures/s without the workers' start, processor milliseconds a picture with it)."""
    specs = [EyeSpec(7, index // 4, index % 4) for index in range(pictures + 4 * workers)]
    before = cpu_seconds()
    stream = draw_eyes(specs, workers=workers)
    for _ in range(4 * workers):
        next(stream)
    start = time.perf_counter()
    drawn = sum(1 for _ in stream)
    seconds = time.perf_counter() - start
    return drawn / seconds, 1000 * (cpu_seconds() - before) / len(specs)


def cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=200)
    arguments = parser.parse_args()
    print(f"{'workers':>8} {'pictures/s':>11} {'ratio':>6} {'processor ms/picture':>21}")
    one = 0.0
    for workers in (1, 2):
        speed, processor = measure(workers, arguments.pictures)
        one = one or speed
        print(f"{workers:8} {speed:11.1f} {speed / one:6.2f} {processor:21.1f}")


if __name__ == "__main__":
    main()
