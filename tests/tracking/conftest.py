"""A project of its own for every test: an empty root, no MLflow, no rank, no DVC experiment around it."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project which is the current directory and `$DVC_ROOT`."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")] + ["RANK", "DVC_EXP_NAME"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Server:
    """An MLflow server of ours on loopback: its address, and the means to end it."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.uri = f"http://127.0.0.1:{free.getsockname()[1]}"
        command = (
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", self.uri.rpartition(":")[2]),
            *("--backend-store-uri", f"sqlite:///{directory}/mlflow.db", "--workers", "1"),
            *("--artifacts-destination", str(directory / "artifacts")),
        )
        with open(directory / "log.txt", "wb") as log:
            environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
            self._process = subprocess.Popen(
                command, cwd=directory, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self, seconds: float = 90) -> None:
        """Return when it answers; fails where it ends first or takes longer than `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        pytest.fail("the MLflow server did not come up")

    def kill(self) -> None:
        """End the server and its workers at once, as a power cut would."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, 9)
        self._process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One real MLflow server for the tests; skips them where mlflow is not installed."""
    pytest.importorskip("mlflow")
    running = Server(tmp_path_factory.mktemp("mlflow"))
    try:
        running.wait()
        yield running
    finally:
        running.kill()
