"""Processes on one machine: none outlives the first, and a dead one is an error, not a wait."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import os, sys, time
from functools import partial
from pathlib import Path
from training.toy import ToyTask, toy_runtime, train_toy

class Slow(ToyTask):
    def loss(self, model, batch, train):
        marker = Path(sys.argv[1]) / os.environ.get("RANK", "0")
        marker.write_text(str(os.getpid()))
        time.sleep(0.2)
        return super().loss(model, batch, train)

train_toy(Path(sys.argv[1]) / "state", Slow, toy_runtime(2), epochs=100)
"""


def start(directory: Path) -> tuple["subprocess.Popen[str]", int]:
    """A training of two processes, and the second one's pid once both train."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", PROGRAM, str(directory)]
    program = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not all((directory / rank).is_file() and (directory / rank).read_text() for rank in "01"):
        assert program.poll() is None and time.monotonic() < deadline, program.communicate()
        time.sleep(0.05)
    return program, int((directory / "1").read_text())


def gone(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]:
            return True
        time.sleep(0.05)
    return False


def test_a_killed_first_process_takes_its_children_along(tmp_path: Path) -> None:
    program, child = start(tmp_path)
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert gone(child)


def test_a_killed_child_ends_the_training_and_is_named(tmp_path: Path) -> None:
    program, child = start(tmp_path)
    os.kill(child, signal.SIGKILL)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 1
    assert "training process 1 was killed (signal 9)" in errors
