"""Outputs expire, stay within their bound, and no name leads out of their folder."""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import visage
from visage.errors import VisageError
from visage.serving.store import LOCK, NAME, OutputStore

WRITER = """
import sys
from visage.serving.store import OutputStore
store, kept = OutputStore(sys.argv[1], max_bytes=20_000), 0
for turn in range(40):
    content = f"{sys.argv[2]}-{turn}".encode() * 100
    name = store.put(content)
    try:
        assert store.read(name) == content
        kept += 1
    except ValueError:  # another writer needed the room
        pass
print(kept)
"""


class Clock:
    """A clock that stands until it is told."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> OutputStore:
    return OutputStore(tmp_path / "out", ttl_s=60, max_bytes=1000, clock=clock)


def names(store: OutputStore) -> set[str]:
    return {path.name for path in store.folder.iterdir()} - {LOCK}


def test_what_is_put_is_read_by_its_name(store: OutputStore) -> None:
    name = store.put(b"content", ".jpg")
    assert NAME.fullmatch(name) and name.endswith(".jpg")
    assert store.read(name) == b"content"
    assert store.path(name).parent == store.folder
    assert store.put(b"content", ".jpg") == name and names(store) == {name}
    assert store.folder.stat().st_mode & 0o077 == 0


def test_outputs_expire_and_a_second_put_keeps_them(store: OutputStore, clock: Clock) -> None:
    old, kept = store.put(b"old"), store.put(b"kept")
    clock.now += 40
    store.put(b"kept")
    clock.now += 21
    with pytest.raises(VisageError, match="has expired"):
        store.read(old)
    assert store.read(kept) == b"kept"
    assert store.sweep() == 1 and names(store) == {kept}
    clock.now += 61
    new = store.put(b"new")
    assert names(store) == {new}, "putting removes what has expired"


def test_the_oldest_go_where_the_bound_needs_it(store: OutputStore, clock: Clock) -> None:
    made = []
    for number in range(5):
        made.append(store.put(bytes([number]) * 300))
        clock.now += 1
    assert names(store) == set(made[2:])
    last = store.put(b"x" * 1000)
    assert names(store) == {last}
    with pytest.raises(VisageError, match="1,001 bytes, the store holds 1,000: raise max_bytes"):
        store.put(b"x" * 1001)
    assert names(store) == {last}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=8))
def test_the_bound_holds_after_every_put(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = OutputStore(folder, max_bytes=700)
        for number, size in enumerate(sizes):
            content = number.to_bytes(2, "big") + bytes(size)
            assert store.read(store.put(content)) == content
            assert sum(path.stat().st_size for path in Path(folder).glob("*.png")) <= 700


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../secret.png", "/etc/passwd", "a/b.png", "..\\secret.png", LOCK, "0" * 32, "0" * 32 + ".exe",
        "0" * 31 + ".png", "A" * 32 + ".png", "0" * 32 + ".png\n", "0" * 32 + ".png/", "../out/" + "0" * 32 + ".png",
        "0" * 32 + ".png\0", "\uff10" * 32 + ".png", "%2e%2e%2fsecret.png",
    ],
)  # fmt: skip
def test_a_name_of_another_form_is_refused(name: str, store: OutputStore) -> None:
    (store.folder.parent / "secret.png").write_bytes(b"secret")
    store.put(b"content")
    for ask in (store.path, store.read):
        with pytest.raises(VisageError, match="names are those that the store gave"):
            ask(name)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_text_leads_out_of_the_folder(name: str) -> None:
    with pytest.raises(VisageError):
        OutputStore("/").path(name)


@pytest.mark.parametrize("suffix", ["", ".exe", "/../../x.png", ".PNG"])
def test_other_suffixes_are_refused(suffix: str, store: OutputStore) -> None:
    with pytest.raises(VisageError, match="suffix"):
        store.put(b"content", suffix)


def test_links_and_folders_are_no_outputs(store: OutputStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret" * 300)
    name = store.put(b"content")
    store.path(name).unlink()
    (store.folder / name).symlink_to(secret)
    with pytest.raises(VisageError, match="has expired or was never made"):
        store.read(name)
    # The link is replaced, not followed, and what it leads to is not counted.
    assert store.put(b"content") == name and store.read(name) == b"content"
    assert secret.read_bytes() == b"secret" * 300
    (store.folder / ("0" * 32 + ".png")).mkdir()
    with pytest.raises(VisageError, match="never made"):
        store.path("0" * 32 + ".png")
    store.sweep()


def test_a_link_that_takes_a_files_place_at_the_last_moment_is_not_followed(
    store: OutputStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    link = store.folder / ("1" * 32 + ".png")
    store.folder.mkdir()
    link.symlink_to(tmp_path / "secret.png")
    monkeypatch.setattr(store, "path", lambda _: link)
    with pytest.raises(VisageError, match="just expired"):
        store.read(link.name)


def test_files_of_others_are_left_alone(store: OutputStore, clock: Clock) -> None:
    store.folder.mkdir()
    (store.folder / "notes.txt").write_bytes(b"x" * 5000)
    store.put(b"content")
    clock.now += 1000
    store.put(b"more")
    assert (store.folder / "notes.txt").stat().st_size == 5000


def test_what_a_killed_writer_left_is_removed(store: OutputStore) -> None:
    name = store.put(b"content")
    (store.folder / f".{name}.tmp-1.png").write_bytes(b"half")
    store.sweep()
    assert names(store) == {name}


def test_threads_may_put_and_read_at_once(store: OutputStore) -> None:
    def work(number: int) -> bool:
        content = bytes([number % 7]) * 100
        return store.read(store.put(content)) == content

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(100)))
    assert len(names(store)) == 7


def test_writers_of_several_processes_keep_one_bound(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(visage.__file__).parents[1])}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(number)],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
        )
        for number in range(3)
    ]
    assert all(int(writer.communicate(timeout=60)[0]) > 0 for writer in writers)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    sizes = [path.stat().st_size for path in tmp_path.glob("*.png")]
    assert 0 < sum(sizes) <= 20_000
    assert not list(tmp_path.glob(".*tmp*"))


def test_settings_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    for limits in ({"ttl_s": 0}, {"ttl_s": float("nan")}, {"max_bytes": 0}):
        with pytest.raises(VisageError, match="must be above 0"):
            OutputStore(tmp_path, **limits)
    (tmp_path / "file").write_text("")
    with pytest.raises(VisageError, match="is a file"):
        OutputStore(tmp_path / "file")
