"""Fetching a published data set: once, linked, and one clear line for what can go wrong. The hub is played."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

from visage.errors import DataError
from visage.io.fetch import fetch


class Hub:
    """Answers like `snapshot_download`: from the cache if it is complete, else from the network."""

    def __init__(self, network: bool = True) -> None:
        self.network, self.calls = network, []

    def __call__(self, repo: str, *, repo_type: str, cache_dir: Path, local_files_only: bool = False) -> str:
        self.calls.append((repo, repo_type, local_files_only))
        folder = Path(cache_dir) / repo.replace("/", "--") / "snapshots" / "abc"
        if local_files_only and not folder.is_dir():
            raise LocalEntryNotFoundError("nothing\nhere")
        if not local_files_only:
            if not self.network:
                raise LocalEntryNotFoundError("many\nlines") from ConnectionError("refused")
            folder.mkdir(parents=True)
            (folder / "train.parquet").write_bytes(b"rows")
        return str(folder)


def play(monkeypatch: pytest.MonkeyPatch, hub) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)


def test_a_data_set_is_brought_once_and_linked(tmp_path, monkeypatch, capsys):
    hub = Hub()
    play(monkeypatch, hub)
    link = tmp_path / "raw" / "openeds"
    folder = fetch("openeds", link, tmp_path / "cache")
    assert link.is_symlink()
    assert (link / "train.parquet").read_bytes() == b"rows"
    assert "downloading to" in capsys.readouterr().out
    assert fetch("openeds", link, tmp_path / "cache") == folder
    assert "Conner/openeds-precomputed is cached in" in capsys.readouterr().out
    assert hub.calls == [("Conner/openeds-precomputed", "dataset", local) for local in (True, False, True)]


def test_an_interrupted_download_is_taken_up_again(tmp_path, monkeypatch):
    hub = Hub()

    def interrupted(repo, **options):
        if options.get("local_files_only"):
            raise IncompleteSnapshotError("half", snapshot_path="x")
        return hub(repo, **options)

    play(monkeypatch, interrupted)
    assert (fetch("sddec25", tmp_path / "sddec25", tmp_path / "cache") / "train.parquet").is_file()


def test_without_a_network_there_is_one_line_with_the_remedy(tmp_path, monkeypatch):
    play(monkeypatch, Hub(network=False))
    with pytest.raises(DataError) as caught:
        fetch("openeds", tmp_path / "openeds", tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(
        "Conner/openeds-precomputed: cannot be downloaded (ConnectionError; no network?)"
    )
    assert not (tmp_path / "openeds").exists()


def test_what_lies_in_the_way_and_unknown_names_are_refused(tmp_path):
    (tmp_path / "openeds").mkdir()
    with pytest.raises(DataError, match="is there and is no link"):
        fetch("openeds", tmp_path / "openeds", tmp_path / "cache")
    with pytest.raises(DataError, match="choose one of openeds, sddec25"):
        fetch("imagenet", tmp_path / "x", tmp_path / "cache")
