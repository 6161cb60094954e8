"""Drawing many: order, independence of workers, and failure that is loud."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

import visage
from visage.synthetic.draw import Spec, draw, draw_many
from visage.synthetic.portrait import Portrait

SPECS = [
    Spec(4, person, session, 2, 64, bald) for person, session, bald in itertools.product((0, 3), (0, 1), (False, True))
]


def _digest(p: Portrait) -> str:
    parts = (p.image, p.hair_mask, p.hair_alpha, p.skin_mask, p.landmarks)
    return hashlib.sha256(b"".join(a.tobytes() for a in parts) + repr((p.face_box, p.attributes)).encode()).hexdigest()


def test_a_spec_gives_the_same_bytes_in_any_order_and_process() -> None:
    forward = [_digest(draw(s)) for s in SPECS]
    backward = [_digest(draw(s)) for s in reversed(SPECS)][::-1]
    assert forward == backward
    assert [_digest(p) for p in draw_many(SPECS, workers=2)] == forward
    assert [_digest(p) for p in draw_many(SPECS, workers=1)] == forward
    assert len(set(forward)) == len(SPECS)


def test_worker_count_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAGE_WORKERS", "1")
    assert next(iter(draw_many(SPECS))).image.shape == (64, 64, 3)
    with pytest.raises(ValueError, match="VISAGE_WORKERS"):
        draw_many(SPECS, workers=0)


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="start at 0"):
        draw(Spec(0, -1, 0, 0, 64))


def test_few_pictures_are_in_flight_and_a_dead_worker_raises() -> None:
    taken = 0

    def endless() -> Iterator[Spec]:
        nonlocal taken
        for spec in itertools.cycle(SPECS):
            taken += 1
            yield spec

    stream = draw_many(endless(), workers=2)
    next(stream)
    next(stream)
    assert taken <= 2 + 4 * 2 + 1
    os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)
    with pytest.raises(BrokenProcessPool):
        list(itertools.islice(stream, 100))


def test_workers_leave_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
        import multiprocessing, itertools
        from visage.synthetic.draw import Spec, draw_many
        if __name__ == "__main__":
            stream = draw_many((Spec(0, i, 0, 0, 64) for i in itertools.count()), workers=2)
            next(stream), next(stream)
            print(*[p.pid for p in multiprocessing.active_children()], flush=True)
            for _ in stream: pass
        """)
    )
    source = str(Path(visage.__file__).parents[1])
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": source}
    )
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert workers
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in workers)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
