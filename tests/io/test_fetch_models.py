"""Fetching a published model file: once, checked, and going on after a broken transfer. The server is a local one."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from visage.errors import DataError
from visage.io import fetch_models
from visage.io.fetch_models import MODELS, Published, fetch_model

CONTENT = np.random.default_rng(1).bytes(300_000)


class Server(ThreadingHTTPServer):
    """Serves `content`. breaks_after: bytes after which the next transfer breaks off, None for never. ranges: whether
    it can start in the middle. asked: the Range header of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges = CONTENT, True
        self.breaks_after: int | None = None
        self.asked: list[str | None] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken transfers are meant."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        given = self.headers.get("Range")
        self.server.asked.append(given)
        first = int(given.removeprefix("bytes=").removesuffix("-")) if given and self.server.ranges else 0
        if first >= len(self.server.content):
            self.send_error(416)
            return
        part = self.server.content[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        cut, self.server.breaks_after = self.server.breaks_after, None
        self.wfile.write(part[:cut])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/toy.bin"
        monkeypatch.setitem(MODELS, "toy", Published("toy.bin", url, hashlib.sha256(CONTENT).hexdigest(), "MIT"))
        yield server
        server.shutdown()


def test_a_model_is_brought_once(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fetch_model("toy", tmp_path / "models")
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["toy.bin"]
    assert fetch_model("toy", tmp_path / "models") == path
    assert "is there already" in capsys.readouterr().out
    assert server.asked == [None]


def test_a_broken_transfer_goes_on_from_where_it_was(server: Server, tmp_path: Path) -> None:
    server.breaks_after = 100_000
    with pytest.raises(DataError, match="goes on from where it was") as caught:
        fetch_model("toy", tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "toy.bin.part").stat().st_size == 100_000
    assert not (tmp_path / "toy.bin").exists()
    assert fetch_model("toy", tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]


def test_a_server_that_cannot_go_on_sends_it_all_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "toy.bin.part").write_bytes(b"of another day")
    assert fetch_model("toy", tmp_path).read_bytes() == CONTENT


def test_a_transfer_that_was_whole_but_not_renamed_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "toy.bin.part").write_bytes(CONTENT)
    assert fetch_model("toy", tmp_path).read_bytes() == CONTENT


def test_another_file_at_the_address_is_refused_and_nothing_of_it_stays(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(DataError, match="the published toy.bin has"):
        fetch_model("toy", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_beginning_costs_one_more_transfer(server: Server, tmp_path: Path) -> None:
    (tmp_path / "toy.bin.part").write_bytes(b"x" * 1000)
    with pytest.raises(DataError, match="the published toy.bin has"):
        fetch_model("toy", tmp_path)
    assert fetch_model("toy", tmp_path).read_bytes() == CONTENT


def test_a_copy_is_taken_after_the_same_check(server: Server, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match="SHA-256"):
        fetch_model("toy", tmp_path / "models", source=copy)
    copy.write_bytes(CONTENT)
    assert fetch_model("toy", tmp_path / "models", source=copy).read_bytes() == CONTENT
    assert server.asked == []
    with pytest.raises(DataError, match="is not there"):
        fetch_model("toy", tmp_path / "other", source=tmp_path / "absent")


def test_a_foreign_file_in_its_place_is_never_overwritten(server: Server, tmp_path: Path) -> None:
    (tmp_path / "toy.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match="move it away"):
        fetch_model("toy", tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == b"mine"


def test_no_network_and_no_such_model_are_one_line_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(MODELS, "toy", Published("toy.bin", "http://127.0.0.1:9/toy.bin", "0" * 64, "MIT"))
    monkeypatch.setattr(fetch_models, "TIMEOUT", 2.0)
    with pytest.raises(DataError, match="--from PATH") as caught:
        fetch_model("toy", tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="choose one of hair_segmenter"):
        fetch_model("nothing", tmp_path)
