"""A picture file in, its hair recoloured out: by a mask, by a model, into a file or a store."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from serving.toy import export_dark, portrait, write
from visage.errors import VisageError
from visage.io.images import encode_jpeg, read_image
from visage.serving.model import read_card
from visage.serving.recolor import recolor_file
from visage.serving.segmenter import Segmenter
from visage.serving.store import OutputStore
from visage.vision.palette import delta_e, parse_color, srgb_to_lab
from visage.vision.recolor import hair_alpha, recolor


@pytest.fixture(scope="module")
def hair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_dark(tmp_path_factory.mktemp("models") / "hair")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write(tmp_path / "in.png", portrait()[0])


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    return write(tmp_path / "mask.png", portrait()[1] * np.uint8(255))


def test_a_model_finds_the_hair_and_it_becomes_blonde(hair: Path, picture: Path, tmp_path: Path) -> None:
    segmenter = Segmenter(hair, size=256)
    done = recolor_file(picture, "blonde", tmp_path / "new" / "out.png", intensity=1, segmenter=segmenter)
    assert done.path == tmp_path / "new" / "out.png"
    assert (done.color.hex, done.model_version) == ("#d4a54a", read_card(hair).model_version)
    assert {"decode", "run", "mask", "recolor", "write"} <= set(done.timings)
    image, out = read_image(picture), read_image(done.path)
    alpha = hair_alpha(segmenter.segment(image).alpha, None)
    assert done.share == np.count_nonzero(alpha) / alpha.size > 0.1
    assert delta_e(srgb_to_lab(out[alpha == 1]).mean(0), parse_color("blonde").lab) < 4
    np.testing.assert_array_equal(out[alpha == 0], image[alpha == 0])


def test_a_mask_takes_the_models_place(picture: Path, mask: Path, tmp_path: Path) -> None:
    done = recolor_file(picture, "#123456", tmp_path / "out.png", mask=mask)
    image, truth = portrait()
    np.testing.assert_array_equal(read_image(done.path), recolor(image, truth * np.uint8(255), parse_color("#123456")))
    assert done.model_version is None and done.share == truth.mean()


def test_skin_keeps_its_bytes(picture: Path, tmp_path: Path) -> None:
    image, truth = portrait()
    everything = write(tmp_path / "all.png", np.full(truth.shape, 255, np.uint8))
    skin = write(tmp_path / "skin.png", (1 - truth) * np.uint8(255))
    done = recolor_file(picture, "pink", tmp_path / "out.png", mask=everything, skin=skin)
    out = read_image(done.path)
    np.testing.assert_array_equal(out[truth == 0], image[truth == 0])
    assert (out[truth == 1] != image[truth == 1]).any(axis=1).all()


def test_the_same_call_gives_the_same_bytes(hair: Path, picture: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"{number}.png" for number in range(3)]
    for out in outs:
        recolor_file(picture, "red", out, segmenter=Segmenter(hair))
    assert len({out.read_bytes() for out in outs}) == 1


def test_intensity_0_and_no_hair_give_the_picture_back(hair: Path, mask: Path, picture: Path, tmp_path: Path) -> None:
    recolor_file(picture, "red", tmp_path / "same.png", mask=mask, intensity=0)
    np.testing.assert_array_equal(read_image(tmp_path / "same.png"), read_image(picture))
    bright = write(tmp_path / "bright.png", np.full((50, 40, 3), 230, np.uint8))
    done = recolor_file(bright, "red", tmp_path / "bald.png", segmenter=Segmenter(hair))
    assert done.share == 0
    np.testing.assert_array_equal(read_image(done.path), read_image(bright))


def test_a_jpeg_that_lies_on_its_side_comes_out_upright(hair: Path, tmp_path: Path) -> None:
    image, _ = portrait(200, 140)
    stored = encode_jpeg(np.ascontiguousarray(np.rot90(image)), 95)
    # APP1 with one Exif entry: orientation (0x0112) 6, turn a quarter to the right.
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    (tmp_path / "turned.jpg").write_bytes(
        stored[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + stored[2:]
    )
    done = recolor_file(tmp_path / "turned.jpg", "blue", tmp_path / "out.jpg", segmenter=Segmenter(hair))
    assert read_image(done.path).shape == (200, 140, 3)
    assert cv2.imread(str(done.path), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION).shape == (200, 140, 3)


def test_a_store_keeps_the_output_until_it_expires(hair: Path, picture: Path, tmp_path: Path) -> None:
    now = [1000.0]
    store = OutputStore(tmp_path / "store", ttl_s=60, clock=lambda: now[0])
    done = recolor_file(picture, "ginger", store, segmenter=Segmenter(hair))
    again = recolor_file(picture, "ginger", store, segmenter=Segmenter(hair))
    assert done.path == again.path and done.path.parent == store.folder
    recolor_file(picture, "ginger", tmp_path / "out.png", segmenter=Segmenter(hair))
    assert store.read(done.path.name) == (tmp_path / "out.png").read_bytes()
    now[0] += 61
    with pytest.raises(VisageError, match="expired"):
        store.read(done.path.name)


def test_what_cannot_be_honoured_is_refused_before_anything_is_written(
    hair: Path, picture: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, before = tmp_path / "out.png", picture.read_bytes()
    small = write(tmp_path / "small.png", np.zeros((5, 6), np.uint8))
    binary = write(tmp_path / "binary.png", portrait()[1])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "folder.png").mkdir()
    pupils = export_dark(tmp_path / "pupils", label="pupil")
    given = {"image": picture, "color": "red", "out": out, "mask": mask}
    for changes, reason in (
        ({"color": "blnde"}, "unknown colour 'blnde': did you mean blonde"),
        ({"intensity": 2.0}, "intensity=2"),
        ({"image": "gone.png"}, r"gone\.png: unreadable"),
        ({"image": "broken.png"}, r"broken\.png"),
        ({"mask": small}, r"small\.png: is 6x5 pixels, the picture 90x120"),
        ({"mask": binary}, r"binary\.png: has the values 0 and 1"),
        ({"mask": picture}, r"in\.png: is coloured, a mask is grey"),
        ({"skin": small}, r"small\.png: is 6x5"),
        ({"out": tmp_path / "out.gif"}, r"out\.gif: unknown suffix"),
        ({"out": tmp_path / "folder.png"}, "is a folder"),
        ({"out": picture}, r"in\.png: is the input"),
        ({"out": mask}, r"mask\.png: is the input"),
        ({"out": picture / "out.png"}, "cannot be written"),
        ({"mask": None}, "no hair model yet"),
        ({"mask": None, "model": "mine"}, "no model 'mine'"),
        ({"mask": None, "color": "blnde"}, "unknown colour"),
        ({"mask": None, "model": hair, "size": 500}, "size=500"),
        ({"mask": None, "segmenter": Segmenter(pupils)}, "finds pupil, not hair"),
    ):
        with pytest.raises(VisageError, match=reason) as error:
            recolor_file(**{**given, **changes})  # type: ignore[arg-type]
        assert "\n" not in str(error.value)
    assert not out.exists() and picture.read_bytes() == before


def test_the_files_of_one_export_answer_alike_at_sizes_it_never_saw(hair: Path) -> None:
    """TorchScript and ONNX with free height and width, on one input of another size and aspect."""
    import torch

    from visage.export.torchscript import load_torchscript
    from visage.serving.model import OnnxModel

    batch = np.random.default_rng(0).normal(size=(3, 3, 96, 160)).astype(np.float32)
    script = load_torchscript((hair / "model.ts").read_bytes())
    with torch.inference_mode():
        expected = script(torch.from_numpy(batch)).numpy()
    logits = OnnxModel(hair).run(batch)
    assert logits.shape == (3, 2, 96, 160)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert json.loads((hair / "model.json").read_text())["classes"] == ["background", "hair"]
