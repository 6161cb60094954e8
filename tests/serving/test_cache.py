"""Open models are shared, bounded and never stale, whatever threads and files do."""

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from visage.errors import VisageError
from visage.export.card import STAMP
from visage.serving import cache as module
from visage.serving.cache import ModelCache
from visage.serving.model import OnnxModel, read_card

BATCH = np.zeros((1, 3, 12, 16), np.float32)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every load of a file, slowed down so that threads meet in it."""
    seen: list[Path] = []

    class Slow(OnnxModel):
        def __init__(self, model: Path | str, threads: int | None = None) -> None:
            seen.append(Path(model))
            time.sleep(0.05)
            super().__init__(model, threads)

    monkeypatch.setattr(module, "OnnxModel", Slow)
    return seen


@pytest.fixture
def models(model_folder: Path, tmp_path: Path) -> list[Path]:
    """Three files of different versions, a.onnx to c.onnx, all of one size."""
    paths = []
    for name in "abc":
        graph = onnx.load(model_folder / "model.onnx")
        text = read_card(model_folder).to_json()
        version = read_card(model_folder).model_version
        onnx.helper.set_model_props(graph, {STAMP: text.replace(version, name * len(version))})
        paths.append(tmp_path / f"{name}.onnx")
        onnx.save(graph, paths[-1])
    assert len({path.stat().st_size for path in paths}) == 1
    return paths


def version_of(cache: ModelCache, path: Path) -> str:
    return cache.get(path).card.model_version[0]


def test_threads_that_ask_at_once_load_each_file_once(models: list[Path], loads: list[Path]) -> None:
    cache, gate = ModelCache(threads=1), threading.Barrier(12)

    def ask(index: int) -> tuple[int, OnnxModel]:
        gate.wait()
        return index % 3, cache.get(models[index % 3])

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(12)))
    assert sorted(loads) == models
    assert len({(index, id(model)) for index, model in answers}) == 3


def test_a_folder_its_file_and_a_link_are_one_model(model_folder: Path, tmp_path: Path, loads: list[Path]) -> None:
    (tmp_path / "link").symlink_to(model_folder)
    cache = ModelCache()
    asked = [model_folder, model_folder / "model.onnx", str(model_folder), tmp_path / "link"]
    assert len({id(cache.get(model)) for model in asked}) == len(loads) == len(cache) == 1


def test_a_file_that_was_replaced_is_loaded_again(models: list[Path], loads: list[Path]) -> None:
    a, b, _ = models
    cache = ModelCache()
    before = cache.get(a)
    os.replace(b, a)
    assert version_of(cache, a) == "b"
    assert before.run(BATCH).shape == (1, 3), "who holds the old one may finish"
    content = models[2].read_bytes()
    a.write_bytes(content)  # in place: the same inode and size
    os.utime(a, ns=(1, 1))
    assert version_of(cache, a) == "c"
    assert len(loads) == 3 and len(cache) == 1


def test_the_least_recently_used_goes_when_the_bytes_are_used_up(models: list[Path], loads: list[Path]) -> None:
    a, b, c = models
    size = a.stat().st_size
    cache = ModelCache(max_bytes=2 * size)
    for path in (a, b, a, c):
        cache.get(path)
    assert cache.bytes == 2 * size and len(cache) == 2
    cache.get(a), cache.get(c)
    assert loads == [a, b, c], "a was used after b"
    cache.get(b)
    assert loads == [a, b, c, b]


def test_a_model_larger_than_the_cache_is_refused(models: list[Path]) -> None:
    size = models[0].stat().st_size
    with pytest.raises(VisageError, match=rf"a\.onnx: {size:,} bytes.*holds {size - 1:,}.*raise max_bytes"):
        ModelCache(max_bytes=size - 1).get(models[0])
    assert ModelCache(max_bytes=size).get(models[0])
    with pytest.raises(VisageError, match="max_bytes=0"):
        ModelCache(max_bytes=0)


def test_a_damaged_or_foreign_file_is_refused_and_a_whole_one_taken_again(models: list[Path], tmp_path: Path) -> None:
    a, b, _ = models
    whole, cache = a.read_bytes(), ModelCache()
    cache.get(a)
    graph = onnx.load(b)
    del graph.metadata_props[:]
    faults = {
        whole[:100]: "not a readable ONNX model",
        b"": "not (a readable ONNX model|exported by visage)",
        graph.SerializeToString(): "not exported by visage",
    }
    for content, reason in faults.items():
        (tmp_path / "new").write_bytes(content)
        os.replace(tmp_path / "new", a)
        for _ in range(2):
            with pytest.raises(VisageError, match=rf"a\.onnx: {reason}") as error:
                cache.get(a)
            assert "\n" not in str(error.value)
        assert len(cache) == cache.bytes == 0
    a.write_bytes(whole)
    assert version_of(cache, a) == "a"


def test_a_file_that_is_gone_is_refused(models: list[Path]) -> None:
    cache = ModelCache()
    cache.get(models[0])
    models[0].unlink()
    with pytest.raises(VisageError, match="no model"):
        cache.get(models[0])


def test_a_file_that_never_rests_is_refused(models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    class Restless(OnnxModel):
        def __init__(self, model: Path | str, threads: int | None = None) -> None:
            super().__init__(model, threads)
            shutil.copy(model, f"{model}.new")
            os.replace(f"{model}.new", model)

    monkeypatch.setattr(module, "OnnxModel", Restless)
    with pytest.raises(VisageError, match="changes while it is loaded"):
        ModelCache().get(models[0])


def test_a_file_replaced_during_its_load_is_loaded_again(models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, _ = models

    class Overtaken(OnnxModel):
        def __init__(self, model: Path | str, threads: int | None = None) -> None:
            super().__init__(model, threads)
            if b.exists():
                os.replace(b, a)

    monkeypatch.setattr(module, "OnnxModel", Overtaken)
    assert version_of(ModelCache(), a) == "b"


def test_a_storm_of_readers_and_replacements_ends_with_the_last_file(models: list[Path], tmp_path: Path) -> None:
    a, contents = models[0], [path.read_bytes() for path in models]
    size, stop, failures = a.stat().st_size, threading.Event(), []
    cache = ModelCache(max_bytes=2 * size, threads=1)

    def read(path: Path) -> int:
        count = 0
        while not stop.is_set():
            try:
                assert cache.get(path).run(BATCH).shape == (1, 3)
                assert cache.bytes <= 2 * size
            except VisageError as error:
                if "changes while" not in str(error):
                    failures.append(error)
            count += 1
        return count

    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(read, path) for path in (a, a, a, *models)]
        for turn in range(15):
            (tmp_path / "new").write_bytes(contents[turn % 3])
            os.replace(tmp_path / "new", a)
            time.sleep(0.01)
        stop.set()
        assert all(reader.result() > 0 for reader in readers)
    assert failures == []
    assert version_of(cache, a) == "c"
