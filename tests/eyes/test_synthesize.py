"""The embedded eyes: the published columns, the same bytes every time, and read back as they were drawn."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from visage.errors import ConfigError
from visage.eyes import synthesize as module
from visage.eyes.config import SynthesizeEyes
from visage.eyes.maps import moments_ellipse, normalised
from visage.eyes.synthesize import synthesize
from visage.io.eye_frames import EyeFrame
from visage.io.eye_parquet import read_parquet
from visage.synthetic.nir_batch import EyeSpec, draw_eye


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAGE_WORKERS", "1")


def test_shards_are_the_same_bytes_for_any_worker_count(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FRAMES_OF_SHARD", 4)
    monkeypatch.setattr(module, "FRAMES_OF_GROUP", 3)
    settings = SynthesizeEyes(subjects=3, frames=3)
    synthesize(settings, seed=5, out=tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "data-00007-of-00009.parquet").write_bytes(b"old")
    monkeypatch.setenv("VISAGE_WORKERS", "2")
    synthesize(settings, seed=5, out=tmp_path / "b")
    names = [f"data-{shard:05d}-of-00003.parquet" for shard in range(3)]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    groups = pq.read_metadata(tmp_path / "a" / names[0])
    assert [groups.row_group(index).num_rows for index in range(groups.num_row_groups)] == [3, 1]


def test_the_reader_gives_back_what_was_drawn(tmp_path):
    synthesize(SynthesizeEyes(subjects=2, frames=30), seed=3, out=tmp_path)
    frames = list(read_parquet(tmp_path, maps=True))
    blinks = 0
    for number, frame in enumerate(frames):
        assert isinstance(frame, EyeFrame)
        subject, index = divmod(number, 30)
        assert frame.source == f"subject_{subject:03d}"
        assert frame.sample_id == f"subject_{subject:03d}/{index:03d}.png"
        assert (frame.weights, frame.distance, frame.preprocessed) == (None, None, False)
        if frame.ellipse is None:
            blinks += 1
            assert frame.label.max() == 0
        else:
            assert frame.ellipse == pytest.approx(normalised(moments_ellipse(frame.label), (400, 640)), abs=1e-5)
    assert blinks >= 1
    eye, last = draw_eye(EyeSpec(3, 1, 29)), frames[-1]
    assert np.array_equal(last.image, eye.image)
    assert np.array_equal(last.label, eye.label == 3)


def test_the_columns_are_the_published_ones_and_no_machine_is_in_them(tmp_path):
    synthesize(SynthesizeEyes(subjects=1, frames=2), seed=3, out=tmp_path)
    file = pq.ParquetFile(tmp_path / "data-00000-of-00001.parquet")
    assert file.schema_arrow.names == [
        "image", "label", "classes", "filename", "source", "cx", "cy", "rx", "ry",
        "full_cx", "full_cy", "full_a", "full_b", "full_angle",
    ]  # fmt: skip
    assert file.schema_arrow.metadata is None
    table, eye = file.read(), draw_eye(EyeSpec(3, 0, 1))
    assert np.array_equal(table["classes"][1].values.to_numpy(), eye.label.ravel())
    whole = [table[f"full_{name}"][1].as_py() for name in ("cx", "cy", "a", "b", "angle")]
    assert whole == pytest.approx([eye.pupil.cx, eye.pupil.cy, eye.pupil.a, eye.pupil.b, eye.pupil.angle], rel=1e-6)


@pytest.mark.parametrize("name", ["subjects", "frames"])
def test_a_number_out_of_range_names_the_setting(tmp_path, name):
    settings = SynthesizeEyes(subjects=1, frames=1)
    setattr(settings, name, 0)
    with pytest.raises(ConfigError, match=rf"eyes\.synthesize\.{name} is 0"):
        synthesize(settings, seed=0, out=tmp_path)
