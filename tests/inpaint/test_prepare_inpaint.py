"""prepare_inpaint: what a tree with every quirk becomes, that kills lose nothing, and the known defects of its kind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from closure import ROOT, closure
from inpaint.toy import change, contents, label_of, portrait, put, run, settings, tree
from visage.errors import ConfigError, DataError, MissingWeightsError
from visage.export.weights import write_safetensors
from visage.features import encoders
from visage.inpaint.prepare_work import CODE
from visage.inpaint.record import METADATA, QUARANTINE, parse_row, read_metadata, stored_row
from visage.io.atomic import read_jsonl
from visage.io.images import encode_jpeg, read_image
from visage.io.rgba import encode_rgba, read_rgba


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw/ (6 sources, 2 views) and what became of it in out/."""
    folder = tmp_path_factory.mktemp("inpaint")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        patch.setenv("VISAGE_WORKERS", "2")
        tree(folder / "raw")
        run(folder, folder / "raw")
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("VISAGE_WORKERS", "1")
    return tmp_path


def test_every_original_becomes_a_checked_row(prepared: Path) -> None:
    rows = read_metadata(prepared / "out")
    assert len(rows) == 12
    for row in rows:
        image, bald, mask = (read_image(prepared / "out" / path) for path in (row.image, row.bald, row.mask))
        hair, style = read_rgba(prepared / "out" / row.hair_only), read_rgba(prepared / "out" / row.style)
        embedding = np.load(prepared / "out" / row.identity)
        filled = mask[..., 0] != 0
        assert image.shape == bald.shape == (96, 96, 3)
        assert (style.shape, embedding.shape) == ((32, 32, 4), (512,))
        assert np.array_equal(bald[~filled], image[~filled])
        # The latent mask of an inpainting network is this mask: never smaller than what the bald picture invents.
        assert np.all(filled | ~(bald != image).any(2))
        assert np.all(filled | (hair[..., 3] == 0))
        for alone in (hair, style):
            assert not alone[alone[..., 3] == 0].any()
            assert (alone[..., 3] != 0).any()
        assert (row.identity_missing, embedding.any()) == ("off", False)
        assert row.face is not None
        assert row.face_by == "polygon"
        assert 0 < row.hair_share < row.filled_share < 1
        assert row.num_patches == len(row.patches) > 0
        for patch in row.patches:
            assert read_image(prepared / "out" / patch).shape == (24, 24, 3)


def test_labels_come_from_fields_and_hit_every_class(prepared: Path) -> None:
    rows = read_metadata(prepared / "out")
    for row in rows:
        number = int(row.source[2:])
        assert (row.curl, row.volume) == (number % 4, number % 3)
    assert {row.curl for row in rows} == {0, 1, 2, 3}
    assert {row.volume for row in rows} == {0, 1, 2}
    metrics = json.loads((prepared / "metrics.json").read_text())
    assert metrics["curl"] == {"straight": 2, "wavy": 4, "curly": 4, "tightly curly": 2, "missing": 0}
    words = next(row.text_prompt for row in rows if row.source == "VS000001")
    assert words == "high quality, realistic bob normal volume black wavy bob hairstyle, detailed hair texture"


def test_no_source_and_so_no_patch_is_in_two_splits(prepared: Path) -> None:
    rows = read_metadata(prepared / "out")
    splits = {row.source: {other.split for other in rows if other.source == row.source} for row in rows}
    assert all(len(found) == 1 for found in splits.values())
    assert {row.split for row in rows} == {"train", "val", "test"}
    # A source's patches are capped together, and every file belongs to one row.
    per_source = {source: sum(row.num_patches for row in rows if row.source == source) for source in splits}
    assert max(per_source.values()) <= 6
    listed = [patch for row in rows for patch in row.patches]
    assert sorted(listed) == sorted(path for path in contents(prepared / "out") if path.startswith("hair_patches/"))
    assert len(set(listed)) == len(listed)


def test_the_bald_picture_shows_no_strand_of_the_outline(folder: Path) -> None:
    image, hair = portrait(1)
    from visage.vision.bald import grow, remove_hair

    bald, filled = remove_hair(image, hair)
    assert bald[filled != 0].min() > 90  # the ground is 120 and more, hair 70 and less
    assert np.all((filled != 0) | (hair == 0))
    assert np.array_equal(grow(hair, 3) != 0, filled != 0)
    empty, nothing = remove_hair(image, np.zeros_like(hair))
    assert np.array_equal(empty, image)
    assert not nothing.any()
    whole, everything = remove_hair(image, np.ones_like(hair))
    assert everything.all()
    assert len(np.unique(whole.reshape(-1, 3), axis=0)) == 1


def test_a_tree_with_every_quirk_gives_the_expected_rows(folder: Path) -> None:
    raw = folder / "raw"
    for source in range(1, 9):
        put(raw, source)
    put(raw, 9, size=128)  # the larger set
    pictures = {int(path.stem[2:8]): path.relative_to(raw).as_posix() for path in raw.rglob("*.jpg")}
    change(raw, pictures[1], **{"natural-curl": float("nan"), "hair-width": "", "polygon2": ...})
    change(
        raw,
        pictures[2],
        color="보라무지개",
        polygon1=json.loads(json.loads(label_of(raw, pictures[2]).read_bytes())["polygon1"]),
    )
    label_of(raw, pictures[3]).write_bytes(b"{broken")
    (raw / pictures[4]).unlink()
    same = label_of(raw, pictures[5])
    shutil.copy(same, same.with_name("copy.json"))
    shutil.copy(same, raw / pictures[5].replace("-001", "_001"))  # a label saved as a picture
    change(raw, pictures[6], polygon1="[]")
    tiny, _ = portrait(0, 32)
    (raw / pictures[7]).write_bytes(encode_jpeg(tiny))
    result = run(folder, raw, settings(max_bad_fraction=0.5, train=0.6, val=0.2, test=0.2))
    rows = {int(row.source[2:]): row for row in read_metadata(folder / "out")}
    assert sorted(rows) == [1, 2, 5, 8, 9]
    assert (rows[1].curl, rows[1].volume, rows[1].face_by) == (-1, -1, "none")
    assert rows[1].text_prompt == "high quality, realistic bob black bob hairstyle, detailed hair texture"
    reasons = {entry["sample_id"]: entry["reason"] for entry in read_jsonl(folder / "out" / QUARANTINE)}
    expected = {
        label_of(Path(), pictures[3]).as_posix(): "damaged label",
        pictures[3]: "unpaired",
        label_of(Path(), pictures[4]).as_posix(): "unpaired",
        pictures[6]: "no hair",
        pictures[7]: "too small",
    }
    assert reasons.keys() == expected.keys()
    assert all(reasons[name].startswith(reason) for name, reason in expected.items())
    assert result["quarantined"]["total"] == len(expected)
    assert result["mapping"]["unknown_words"] == {"color=보라무지개": 1}
    assert result["curl"]["missing"] == 1
    assert result["mapping"]["coverage"]["natural-curl"] == 0.8


def test_a_run_killed_twenty_times_gives_what_a_clean_one_gives(tmp_path: Path) -> None:
    tree(tmp_path / "raw", sources=8)

    def start(folder: Path) -> subprocess.Popen[bytes]:
        folder.mkdir(exist_ok=True)
        environment = os.environ | {"DVC_ROOT": str(folder), "VISAGE_WORKERS": "2", "PYTHONPATH": "src:tests"}
        command = [sys.executable, "-m", "inpaint.toy", str(folder), str(tmp_path / "raw")]
        root = Path(__file__).parents[2]
        return subprocess.Popen(command, env=environment, cwd=root, start_new_session=True, stdout=subprocess.DEVNULL)

    whole = start(tmp_path / "whole")
    began = time.monotonic()
    assert whole.wait() == 0
    seconds = time.monotonic() - began
    chance = random.Random(0)
    for _ in range(20):
        child = start(tmp_path / "killed")
        try:
            child.wait(chance.uniform(0.3, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    assert start(tmp_path / "killed").wait() == 0
    for name in ("out", "plots"):
        assert contents(tmp_path / "killed" / name) == contents(tmp_path / "whole" / name)
    assert (tmp_path / "killed/metrics.json").read_bytes() == (tmp_path / "whole/metrics.json").read_bytes()


def test_other_splits_and_words_compute_no_picture_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(folder / "raw")
    run(folder, folder / "raw")
    first = contents(folder / "out")
    capsys.readouterr()
    run(folder, folder / "raw", settings(train=0.25, val=0.25, test=0.5))
    assert "6 jobs, 6 of them there already" in capsys.readouterr().out
    assert contents(folder / "out").keys() - {METADATA} == first.keys() - {METADATA}


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"patch": 200}, ConfigError, "inpaint.prepare.patch=200"),
        ({"detector": "haar"}, ConfigError, "inpaint.prepare.detector"),
        ({"embedder": "adaface"}, MissingWeightsError, "inpaint.prepare.embedder_file=none.pt"),
        ({"train": 0.0}, ConfigError, "train"),
    ],
)
def test_what_cannot_be_honoured_is_said_before_anything_runs(folder, changes, kind, message) -> None:
    tree(folder / "raw", 3, 1)
    with pytest.raises(kind, match=message):
        run(folder, folder / "raw", settings(**changes))
    assert not (folder / ".visage/jobs/prepare_inpaint").exists()


def test_a_picture_without_its_face_needs_the_detector_that_was_asked_for(folder: Path) -> None:
    picture = put(tree(folder / "raw", 3, 1), 4)
    change(folder / "raw", picture, polygon2="")
    with pytest.raises(MissingWeightsError, match=r"detector_file=none\.onnx"):
        run(folder, folder / "raw", settings(detector="yunet"))


def test_too_many_bad_originals_stop_the_run(folder: Path) -> None:
    tree(folder / "raw", 4, 1)
    for path in list((folder / "raw").rglob("*.jpg"))[:2]:
        path.write_bytes(b"\xff\xd8\xff no jpeg")
    with pytest.raises(DataError, match=r"2 of 4 originals are bad .*raise inpaint\.prepare\.max_bad_fraction"):
        run(folder, folder / "raw")
    assert len(read_jsonl(folder / "out" / QUARANTINE)) == 2


def test_hair_outside_the_picture_is_one_clear_reason(folder: Path) -> None:
    tree(folder / "raw", 4, 1)
    far = [[{"x": x, "y": y} for x, y in ((900, 900), (990, 900), (990, 990))]]
    change(folder / "raw", put(folder / "raw", 5), polygon1=far)
    run(folder, folder / "raw")
    (entry,) = read_jsonl(folder / "out" / QUARANTINE)
    assert entry["reason"] == "polygon1 lies outside the picture: export the label again"


def test_another_pretrained_encoder_is_another_embedding(folder: Path) -> None:
    tree(folder / "raw", 3, 1)
    chosen = settings(embedder="encoder")
    with pytest.raises(MissingWeightsError, match="dvc repro pretrain_encoder"):
        run(folder, folder / "raw", chosen)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = encoders.encoder_state(encoders.build("mobilenet_v3_small", 1))
        write_safetensors(folder / "encoder/encoder.safetensors", state)
        (folder / "encoder/encoder.json").write_text('{"arch": "mobilenet_v3_small"}')
        run(folder, folder / "raw", chosen)
        row = read_metadata(folder / "out")[0]
        assert (row.identity_by, row.identity_missing) == ("encoder", "")
        found.append(np.load(folder / "out" / row.identity))
    assert not np.allclose(*found)


def test_every_module_that_decides_a_pack_is_part_of_the_version() -> None:
    work = "src/visage/inpaint/prepare_work.py"
    lazily = ("src/visage/inpaint/adaface.py", "src/visage/features/pretrained.py")
    used = {name.removeprefix("src/visage/") for file in (work, *lazily) for name in closure(ROOT / file)}
    # Parameters are part of the identity one by one, words of none; the others handle files, jobs and checkpoints.
    others = ("export/", "jobs/", "inpaint/config.py", "features/table.py", "io/atomic.py", "io/eye_frames.py",
              "io/khairstyle_vocabulary.py", "runtime.py", "training/")  # fmt: skip
    assert {name for name in used if not name.startswith(others)} == set(CODE)


def test_a_row_that_contradicts_itself_is_refused(prepared: Path) -> None:
    stored = stored_row(read_metadata(prepared / "out")[0])
    for changes, message in (
        ({"curl": 4}, "curl 4"),
        ({"split": "dev"}, "split 'dev'"),
        ({"num_patches": 99}, "num_patches 99"),
        ({"filled_share": 0.0}, "filled_share"),
        ({"face": [3, 3, 2, 9]}, "face"),
        ({"bald": ""}, "bald is empty"),
        ({"extra": 1}, "extra is unknown"),
    ):
        with pytest.raises(DataError, match=f"^a row: {message}"):
            parse_row(stored | changes, "a row")


def test_colour_under_transparency_is_never_written() -> None:
    picture = np.zeros((4, 4, 4), np.uint8)
    assert encode_rgba(picture)
    picture[0, 0, 0] = 1
    with pytest.raises(ValueError, match="alpha 0"):
        encode_rgba(picture)
