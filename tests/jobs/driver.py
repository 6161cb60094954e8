"""Runs of the toy queue for the tests: in this process, or as a program of its own that may be killed."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from jobs.toywork import ToyWork
from visage.errors import VisageError
from visage.io.atomic import TMP_MARK, write_bytes
from visage.jobs.plan import Item, Job
from visage.jobs.queue import Results, run_queue
from visage.jobs.store import Store
from visage.jobs.work import Work
from visage.jobs.worker import Worker

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds until a test that waits for something fails
MARK = "VISAGE_TEST_MARK"


def run_here(work: Work, store: Store, jobs: Sequence[Job], workers: int) -> Iterator[Job | None]:
    """An engine without processes."""
    worker = Worker(work, store)
    for job in jobs:
        while not worker.perform(job):
            yield None
        yield job


def outputs(results: Results) -> bytes:
    """All rows and errors in order."""
    parts = [outcome for _, outcome in results.read()]
    return b"".join(part.arrays["values"].tobytes() + json.dumps(list(part.errors)).encode() for part in parts)


def run(root: Path, items: Sequence[Item], work: Work | None = None, size: int = 3, **options: Any) -> bytes:
    """The output of a run in `root`, in this process unless an engine is given."""
    found: list[bytes] = []
    use: Callable[[Results], None] = lambda results: found.append(outputs(results))  # noqa: E731
    run_queue(work or ToyWork(), items, size, root=root, use=use, **{"engine": run_here, "workers": 2, **options})
    return found[0]


def store_of(root: Path, work: ToyWork | None = None) -> Store:
    work = work or ToyWork()
    return Store(root, work.name, work.identity())


def shards(root: Path) -> dict[str, bytes]:
    """The content of every shard of the toy's store."""
    return {path.name: path.read_bytes() for path in (store_of(root).folder / "shards").glob("[!.]*.npz")}


def leftovers(root: Path) -> list[Path]:
    """Temporary files and claims, of which a run that has ended leaves none."""
    return [*root.rglob(f".*{TMP_MARK}*"), *root.rglob("claims/*")]


def logged(log: Path) -> list[str]:
    """The key of every computation, in order."""
    return log.read_text().splitlines() if log.exists() else []


def start(root: Path, items: Sequence[Item], mark: str, **options: Any) -> "subprocess.Popen[str]":
    """The program below, doing the same as `run` with the local engine; its processes carry `mark`."""
    given = {"root": str(root), "items": [[item.key, item.source] for item in items], **options}
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", MARK: mark}
    with TemporaryFile("w+") as file:
        json.dump(given, file)
        file.seek(0)
        command = [sys.executable, "-m", "jobs.driver"]
        return subprocess.Popen(
            command, env=environment, stdin=file, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )


def family(mark: str, kind: str = "spawn_main") -> list[int]:
    """The living processes that carry `mark` and have `kind` in their command line (by default: workers)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            marked = f"{MARK}={mark}\0".encode() in (folder / "environ").read_bytes()
            if marked and kind.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def until(true: Callable[[], object]) -> None:
    """Wait for something that has to happen."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def main() -> None:
    given = json.load(sys.stdin)
    if quota := given.get("quota"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (quota, quota))
    work, output = ToyWork(**given.get("work", {})), given.get("output")
    items = [Item(*item) for item in given["items"]]
    try:
        result = run(Path(given["root"]), items, work, given.get("size", 3), engine=None, workers=None)
    except VisageError as error:
        sys.exit(f"error: {error}")
    if output:
        write_bytes(output, result)


if __name__ == "__main__":
    main()
