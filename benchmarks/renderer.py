"""Portrait renderer: pictures/s at three sizes with one and two worker processes, in one run.

    PYTHONPATH=src python benchmarks/renderer.py [--pictures 48]

The processor seconds of a picture are printed beside the wall time, because they hold on a busy machine too.
"""

import argparse
import resource
import time

from visage.synthetic.draw import Spec, draw_many


def measure(size: int, workers: int, pictures: int) -> tuple[float, float]:
    """(pictures/s without the workers' start, processor seconds a picture with it)."""
    specs = [Spec(7, index % 12, index // 12, 0, size) for index in range(pictures + 2 * workers)]
    before = cpu_seconds()
    stream = draw_many(specs, workers=workers)
    for _ in range(2 * workers):
        next(stream)
    start = time.perf_counter()
    drawn = sum(1 for _ in stream)
    seconds = time.perf_counter() - start
    return drawn / seconds, (cpu_seconds() - before) / len(specs)


def cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=48)
    arguments = parser.parse_args()
    print(f"{'size':>5} {'workers':>8} {'pictures/s':>11} {'ratio':>6} {'processor s/picture':>20}")
    for size in (128, 256, 512):
        one = 0.0
        for workers in (1, 2):
            speed, processor = measure(size, workers, arguments.pictures if size < 512 else arguments.pictures // 2)
            one = one or speed
            print(f"{size:5} {workers:8} {speed:11.1f} {speed / one:6.2f} {processor:20.3f}")


if __name__ == "__main__":
    main()
