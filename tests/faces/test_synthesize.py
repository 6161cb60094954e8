"""The embedded set looks like a real folder and is the same bytes every time."""

import pytest

from visage.errors import ConfigError
from visage.faces.config import SynthesizeFaces
from visage.faces.synthesize import synthesize
from visage.io.atomic import read_jsonl
from visage.io.folders import read_folder
from visage.io.images import read_image


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAGE_WORKERS", "1")


def test_the_set_reads_as_class_folders_with_sessions_and_reruns_are_equal(tmp_path):
    settings = SynthesizeFaces(people=2, sessions=2, pictures=1, size=64)
    synthesize(settings, seed=5, out=tmp_path / "a")
    (tmp_path / "b" / "person_07" / "session_0").mkdir(parents=True)
    synthesize(settings, seed=5, out=tmp_path / "b")
    items, rejected = read_folder(tmp_path / "a")
    assert rejected == []
    assert [(item.label, item.group) for item in items] == [
        (f"person_{person:02d}", f"person_{person:02d}/session_{session}") for person in (0, 1) for session in (0, 1)
    ]
    for path in (path for path in (tmp_path / "a").rglob("*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    assert not (tmp_path / "b" / "person_07").exists()
    rows = read_jsonl(tmp_path / "a" / "attributes.jsonl")
    assert [row["path"] for row in rows] == [item.path.relative_to(tmp_path / "a").as_posix() for item in items]
    for row in rows:
        assert read_image(tmp_path / "a" / row["path"]).shape == (64, 64, 3)
        assert len(row["face_box"]) == 4
        assert [len(point) for point in row["landmarks"]] == [2] * 5
        assert row["seed"] == 5
        assert row["attributes"]


@pytest.mark.parametrize("name", ["people", "sessions", "pictures", "size"])
def test_a_number_out_of_range_names_the_setting(tmp_path, name):
    settings = SynthesizeFaces(people=1, sessions=1, pictures=1, size=64)
    setattr(settings, name, 0)
    with pytest.raises(ConfigError, match=f"faces.synthesize.{name} is 0"):
        synthesize(settings, seed=0, out=tmp_path)
