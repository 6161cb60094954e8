"""How far a queue is: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from types import TracebackType

LINE_SECONDS = 10.0


class Progress:
    """Counts items of `total`, of which `resumed` were there at the start and do not enter the speed."""

    def __init__(self, name: str, total: int, resumed: int) -> None:
        self.name, self.total, self.resumed, self.done = name, total, resumed, resumed
        self.started = self.printed = time.monotonic()
        self.bar = None
        if sys.stdout.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            texts = TextColumn("{task.description}"), TextColumn("{task.fields[speed]}")
            self.bar = Bar(texts[0], BarColumn(), MofNCompleteColumn(), texts[1], TimeRemainingColumn())
            self.task = self.bar.add_task(name, total=total, completed=resumed, speed="")

    def __enter__(self) -> "Progress":
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    def add(self, items: int) -> None:
        """`items` more are done."""
        self.done += items
        if self.bar:
            self.bar.update(self.task, advance=items, speed=f"{self.speed():.3g}/s")
        elif time.monotonic() - self.printed >= LINE_SECONDS:
            self.printed = time.monotonic()
            left = (self.total - self.done) / self.speed()
            print(f"{self.name}: {self.done} of {self.total}, {self.speed():.3g}/s, {left:.0f} s left", flush=True)

    def speed(self) -> float:
        """Items per second since the start, those that were there already left out."""
        return max(self.done - self.resumed, 1e-9) / max(time.monotonic() - self.started, 1e-9)
