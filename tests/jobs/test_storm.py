"""A storm of kill -9, on workers, on drivers and on both: what is done stays done, and the bytes are a cold run's."""

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from jobs.driver import family, kill, leftovers, logged, run, shards, start, store_of, until
from jobs.toywork import items

SIZE = 2  # items of a job
SECONDS = 0.02  # of a job
WORKERS = 2  # of a driver


class Storm:
    """A queue under fire, and what must not be computed again after which line of the log."""

    def __init__(self, folder: Path, drivers: int, count: int = 300) -> None:
        self.folder, self.drivers, self.items, self.mark = folder, drivers, items(count), str(folder)
        self.random = random.Random(drivers)
        self.kills = self.queues = 0
        self.running: list[subprocess.Popen[str]] = []
        self.next_queue()

    def next_queue(self) -> None:
        self.queues += 1
        self.root, self.output = self.folder / f"queue{self.queues}", self.folder / f"output{self.queues}"
        self.log, self.hits = self.folder / f"log{self.queues}", 0
        self.done: list[tuple[set[str], int]] = []

    def start(self, seconds: float = SECONDS) -> None:
        """Start the drivers that do not run; `seconds` is what a job takes."""
        while len(self.running) < self.drivers:
            records = store_of(self.root).records().values()
            self.done.append(({key for record in records for key in record.items}, len(logged(self.log))))
            work = {"seconds": seconds, "log": str(self.log)}
            options = {"size": SIZE, "work": work, "output": str(self.output)}
            self.running.append(start(self.root, self.items, self.mark, **options))

    def rage(self, kills: int, longest: float, *, hit_drivers: bool, hit_workers: bool) -> None:
        """Kill at random moments, at most `longest` seconds apart, going on with other queues when one is done."""
        while self.kills < kills:
            self.start()
            if self.kills % 4 == 0:  # so that the storm gets somewhere, however slow the machine is
                self.progress()
            time.sleep(self.random.uniform(0, longest))
            if self.ended():
                self.finish()
                self.next_queue()
                continue
            drivers = [driver.pid for driver in self.running]
            victims = drivers * hit_drivers + family(self.mark) * hit_workers
            if not victims:
                continue
            kill(victim := self.random.choice(victims))
            self.kills, self.hits = self.kills + 1, self.hits + 1
            if victim in drivers:
                self.bury(self.running.pop(drivers.index(victim)))
        self.finish()

    def progress(self) -> None:
        """Wait until something was computed."""
        seen = len(logged(self.log))
        until(lambda: len(logged(self.log)) > seen or self.ended())

    def bury(self, driver: "subprocess.Popen[str]") -> None:
        driver.communicate()
        if not self.running:
            until(lambda: not family(self.mark, ""))

    def ended(self) -> bool:
        return any(driver.poll() is not None for driver in self.running)

    def finish(self) -> None:
        """Let the drivers finish, and look at everything."""
        self.start()
        while self.running:
            driver = self.running.pop()
            _, errors = driver.communicate()
            assert driver.returncode == 0, errors
        cold = run(self.folder / "cold", self.items, size=SIZE)
        assert self.output.read_bytes() == cold
        assert shards(self.root) == shards(self.folder / "cold")
        store = store_of(self.root)
        assert len(store.records()) == len(self.items) // SIZE and all(store.load(digest) for digest in store.records())
        log = logged(self.log)
        assert set(log) == {item.key for item in self.items}
        assert len(log) <= len(self.items) + SIZE * WORKERS * self.hits
        for done, line in self.done:
            assert not done & set(log[line:])
        assert run(self.root, self.items, size=SIZE) == cold  # which sweeps what the last killed process left
        assert logged(self.log) == log
        assert not leftovers(self.root)


@pytest.fixture(autouse=True)
def _workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAGE_WORKERS", str(WORKERS))


def test_a_run_whose_workers_are_killed_finishes_as_if_nothing_had_been(tmp_path: Path) -> None:
    Storm(tmp_path, drivers=1).rage(50, 0.25, hit_drivers=False, hit_workers=True)


def test_a_killed_run_leaves_no_process_and_continues(tmp_path: Path) -> None:
    Storm(tmp_path, drivers=1).rage(30, 0.4, hit_drivers=True, hit_workers=False)


def test_two_runs_of_one_queue_survive_a_storm_together(tmp_path: Path) -> None:
    Storm(tmp_path, drivers=2).rage(40, 0.3, hit_drivers=True, hit_workers=True)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_a_run_stopped_in_long_jobs_leaves_no_process_and_loses_nothing(tmp_path: Path, name: str) -> None:
    storm = Storm(tmp_path, drivers=1, count=20)
    storm.start(seconds=600)
    until(lambda: len(list(storm.root.rglob("claims/*.lock"))) == WORKERS)
    driver = storm.running.pop()
    driver.send_signal(getattr(signal, name))
    storm.bury(driver)
    assert driver.returncode != 0
    storm.hits += 1
    storm.finish()
