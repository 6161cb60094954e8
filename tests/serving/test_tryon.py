"""Try-on: what it keeps to the bit, what it paints, and what it says to those who give it something else."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor
from typer.testing import CliRunner

from inpaint.export_toy import LATEST, evaluation, make_inputs, run, snapshot
from inpaint.test_hooks import adapter, controlnet, vision
from serving.toy import export_dark, portrait, write
from visage.cli import app
from visage.errors import MissingWeightsError, VisageError
from visage.inpaint import identity
from visage.inpaint.exported import Exported
from visage.io.images import read_image
from visage.serving.hair_masks import open_finder, without_specks
from visage.serving.segmenter import Segmenter
from visage.serving.tryon import Extras, TryOn, open_model, try_on
from visage.vision.bald import grow
from visage.vision.detect import Face
from visage.vision.square import ABOVE, WIDTH, Square, about_face, frame

POINTS = np.array([[35, 60], [55, 60], [45, 75], [37, 88], [53, 88]], np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported inpainter."""
    place = tmp_path_factory.mktemp("tryon")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(place))
        made = make_inputs(place)
    path = snapshot(place / "snapshots" / LATEST, made, 6)
    assert run(place, made, path.parent, evaluation(place / "evaluation.json", path))["passed"]
    return place / "deep_hair_v1"


@pytest.fixture(scope="module")
def model(folder: Path) -> Exported:
    return open_model(folder)


@pytest.fixture(scope="module")
def hair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_dark(tmp_path_factory.mktemp("models") / "hair")


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    """A portrait with red hair, dark enough to be found."""
    image, mask = portrait(90, 90)
    image[mask == 1] = (110, 20, 10)
    return image


def only_paint(done: TryOn, target: np.ndarray) -> bool:
    """Whether the target changed, and only where it says."""
    assert done.image.shape == target.shape and done.image.dtype == np.uint8 and done.paint.max() == 1
    np.testing.assert_array_equal(done.image[done.paint == 0], target[done.paint == 0])
    return bool((done.image != target).any())


@pytest.mark.parametrize("size", [(120, 90), (90, 120), (64, 64), (400, 60), (50, 333), (14, 12), (1000, 700)])
def test_what_is_not_painted_stays_to_the_bit(
    size: tuple[int, int], model: Exported, hair: Path, reference: np.ndarray
) -> None:
    target, _ = portrait(*size)
    calls: list[tuple[int, int]] = []
    done = try_on(target, reference, model=model, segmenter=hair, progress=lambda *state: calls.append(state))
    assert only_paint(done, target)
    assert calls == [(1, 2), (2, 2)], "steps as it was evaluated"
    assert done.paint[open_finder(hair)(target) == 1].all() and done.paint.mean() < 0.9
    assert done.model_version == model.model_version
    assert done.notes == ["identity not told: no face detector (visage models fetch yunet)"]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1), st.floats(0.02, 1))
def test_any_picture_and_any_mask(model: Exported, height: int, width: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 256, (height, width, 3), np.uint8)
    mask = np.where(rng.random((height, width)) < share, 255, 0).astype(np.uint8)
    mask[rng.integers(height), rng.integers(width)] = 255
    other, other_mask = portrait(40, 40)
    done = try_on(target, other, model=model, mask=mask, reference_mask=255 * other_mask, steps=1)
    only_paint(done, target)
    assert done.paint[mask != 0].all()


def test_the_painted_part_is_the_mask_widened_by_its_share_of_the_square(
    model: Exported, reference: np.ndarray
) -> None:
    target, truth = portrait(300, 300)
    done = try_on(target, reference, model=model, mask=255 * truth, reference_mask=255 * portrait(90, 90)[1])
    wanted = grow(truth, round(model.growth * 300)) != 0
    assert np.count_nonzero(wanted != (done.paint != 0)) / np.count_nonzero(wanted) < 0.02


def test_the_same_call_gives_the_same_picture_and_each_thing_told_another(
    model: Exported, hair: Path, reference: np.ndarray
) -> None:
    target, _ = portrait()

    def paint(other: np.ndarray = reference, **changes: Any) -> np.ndarray:
        return try_on(target, other, model=model, segmenter=hair, **changes).image

    plain = paint()
    np.testing.assert_array_equal(paint(), plain)
    np.testing.assert_array_equal(try_on(target, reference, model=model, segmenter=Segmenter(hair)).image, plain)
    for changed in (
        paint(prompt="short curly black bob"), paint(seed=8), paint(steps=3), paint(sampler="euler"),
        paint(prompt="bob", guidance=3.0), paint(portrait()[0]),
    ):  # fmt: skip
        assert (changed != plain).any()
    assert (paint(prompt="long straight brown") != paint(prompt="short curly black")).any()


def test_a_long_prompt_is_cut_with_a_note(model: Exported, hair: Path, reference: np.ndarray) -> None:
    done = try_on(portrait()[0], reference, model=model, segmenter=hair, prompt="curly " * 100)
    assert any("77 were read" in note for note in done.notes)


def test_identity_is_told_where_a_face_and_an_embedder_are(
    model: Exported, hair: Path, reference: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target, _ = portrait()
    face, seen = Face((25, 40, 66, 105), 0.9, POINTS), []

    def embed(image: np.ndarray, found: Face) -> np.ndarray:
        seen.append(found)
        return np.ones(512, np.float32)

    plain = try_on(target, reference, model=model, segmenter=hair)
    monkeypatch.setitem(identity.OPENERS, "test", lambda _: embed)
    known = replace(model, config={**model.config, "sharpness": 0})
    told = try_on(target, reference, model=known, segmenter=hair, detector=lambda _: [face])
    size = model.config["prepared_size"]
    assert not told.notes and (told.image != plain.image).any()
    assert all(-0.2 * size < edge < 1.2 * size for edge in seen[0].box)
    assert seen[0].points is not None and (seen[0].points >= 0).all() and (seen[0].points <= size).all()
    notes = [
        try_on(target, reference, model=of, segmenter=hair, detector=detector).notes
        for of, detector in (
            (known, lambda _: []),
            (replace(model, config={**model.config, "sharpness": 1e9}), lambda _: [face]),
            (replace(model, config={**model.config, "identity_by": "none"}), lambda _: [face]),
        )
    ]
    assert notes == [[f"identity not told: {why}"] for why in ("no face was found", "blurred", "off")]
    monkeypatch.delitem(identity.OPENERS, "test")
    sface = replace(model, config={**model.config, "identity_by": "sface"})
    done = try_on(
        target, reference, model=sface, segmenter=hair, detector=lambda _: [face], embedder_file=tmp_path / "sface.onnx"
    )
    assert "sface.onnx: no SFace there" in done.notes[0]


def test_grey_pictures_and_pictures_with_alpha_are_taken_as_they_are_read(
    model: Exported, hair: Path, tmp_path: Path
) -> None:
    image, truth = portrait()
    grey = write(tmp_path / "grey.png", image[..., 0])
    clear = tmp_path / "clear.png"
    cv2.imwrite(str(clear), np.dstack([image[..., ::-1], np.where(truth == 1, 255, 180).astype(np.uint8)]))
    for path in (grey, clear):
        assert only_paint(try_on(path, str(path), model=model, segmenter=hair), read_image(path))


def test_what_cannot_be_used_is_one_line(model: Exported, hair: Path, tmp_path: Path) -> None:
    image, truth = portrait()
    bright = write(tmp_path / "bright.png", np.full((50, 40, 3), 230, np.uint8))
    target = write(tmp_path / "target.png", image)
    small = write(tmp_path / "small.png", truth[:-1] * np.uint8(255))
    black = write(tmp_path / "black.png", 0 * truth)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    usual: dict[str, Any] = {"target": target, "reference": target, "model": model, "segmenter": hair}
    for changes, reason in (
        ({"target": bright}, r"bright\.png: no hair was found: give a mask"),
        ({"reference": bright}, r"bright\.png: no hair was found: give another reference"),
        ({"target": read_image(bright)}, "the target: no hair"),
        ({"mask": black}, r"target\.png: no hair was found"),
        ({"mask": small}, r"small\.png: is 90x119 pixels, the picture 90x120"),
        ({"reference_mask": small}, r"small\.png: is 90x119"),
        ({"mask": truth}, "values 0 and 1"),
        ({"mask": target}, "is coloured"),
        ({"target": tmp_path / "broken.png"}, r"broken\.png"),
        ({"target": tmp_path / "gone.png"}, r"gone\.png: unreadable"),
        ({"reference": np.zeros((3, 3), np.uint8)}, "give HxWx3 uint8 RGB"),
        ({"segmenter": tmp_path / "none"}, "no model"),
        ({"steps": 0}, r"tryout\.steps=0"),
        ({"sampler": "pndm"}, r"tryout\.sampler=pndm|pndm"),
        ({"guidance": -1.0}, r"tryout\.guidance=-1"),
        ({"extras": Extras(control_image=target)}, "control image without a ControlNet"),
        ({"extras": Extras(ip_adapter=target)}, "goes with its image encoder"),
        ({"extras": Extras("none", control_image=small)}, r"small\.png: is 90x119 pixels, the target 90x120"),
        ({"extras": Extras(str(tmp_path / "none"))}, "no config.json there"),
    ):
        with pytest.raises(VisageError, match=reason) as error:
            try_on(**{**usual, **changes})
        assert "\n" not in str(error.value)


def test_a_model_that_is_not_there_or_did_not_pass_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "model")
    cases: list[tuple[str, str, bytes | None]] = [
        ("verdict.json", "verdict.json is not there: dvc repro export_inpainter", None),
        ("verdict.json", r"did not pass the gate \(psnr 3 is below gate.psnr=9\)",
         json.dumps({"passed": False, "reasons": ["psnr 3 is below gate.psnr=9"]}).encode()),
        ("verdict.json", "damaged", b"{"), ("config.json", "damaged", b"[]"),
        ("deep_hair_v1.safetensors", "not a readable safetensors file", b"cut"),
        ("deep_hair_v1.safetensors", "is not of the network", (folder / "projectors.safetensors").read_bytes()),
        ("projectors.safetensors", "is not of the network", (folder / "deep_hair_v1.safetensors").read_bytes()),
    ]  # fmt: skip
    for name, reason, content in cases:
        path = tmp_path / "model" / name
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(VisageError, match=reason) as error:
            open_model(tmp_path / "model")
        assert "\n" not in str(error.value)
        shutil.copyfile(folder / name, path)
    with pytest.raises(VisageError, match=r"deep_hair_v1/verdict.json is not there"):
        open_model()
    if not torch.cuda.is_available():
        with pytest.raises(VisageError, match="device=cuda"):
            open_model(folder, "cuda")


def test_prompts_need_their_encoders_and_nothing_else_does(
    folder: Path, hair: Path, reference: np.ndarray, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "prompts")
    opened = open_model(tmp_path / "model")
    assert try_on(portrait()[0], reference, model=opened, segmenter=hair).image.any()
    with pytest.raises(VisageError, match="encoders.json is not there"):
        try_on(portrait()[0], reference, model=opened, segmenter=hair, prompt="bob")


def segformer(folder: Path, labels: list[str]) -> Path:
    """A random one that calls everything hair where it knows hair."""
    config = SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8], num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=8,
        id2label=dict(enumerate(labels)), label2id={label: number for number, label in enumerate(labels)},
    )  # fmt: skip
    network = SegformerForSemanticSegmentation(config)
    bias = network.decode_head.classifier.bias
    assert bias is not None
    bias.data = torch.tensor([100.0 * (label == "hair") for label in labels])
    network.save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def test_a_segformers_own_number_of_hair_counts(tmp_path: Path) -> None:
    image = portrait(70, 50)[0]
    for place, labels in enumerate((["skin", "neck", "hair"], ["hair", "cloth", "neck"])):
        found = open_finder(segformer=segformer(tmp_path / str(place), labels))(image)
        assert found.shape == (70, 50) and found.dtype == np.uint8 and found.all()
    with pytest.raises(VisageError, match=r"has no class 'hair' \(it has neck, skin\)"):
        open_finder(segformer=segformer(tmp_path / "none", ["skin", "neck"]))
    with pytest.raises(MissingWeightsError, match="config.json is not there"):
        open_finder(segformer=tmp_path / "gone")


def test_specks_do_not_count() -> None:
    mask = np.zeros((50, 50), np.uint8)
    mask[10:30, 10:30], mask[32:38, 10:20], mask[45, 45] = 1, 1, 1
    kept = without_specks(mask)
    assert kept[45, 45] == 0 and kept.sum() == mask.sum() - 1
    assert not without_specks(0 * mask).any()


def test_extras_change_what_is_painted_and_the_model_stays_as_it_was(
    model: Exported, hair: Path, reference: np.ndarray, tmp_path: Path
) -> None:
    target, _ = portrait()
    unet = model.painter.network.unet

    def paint(extras: Extras | None = None) -> np.ndarray:
        done = try_on(target, reference, model=model, segmenter=hair, extras=extras)
        assert only_paint(done, target)
        return done.image

    plain = paint()
    np.testing.assert_array_equal(paint(Extras(str(controlnet(tmp_path / "zero")))), plain)
    trained = str(controlnet(tmp_path / "trained", zero=False))
    white = write(tmp_path / "white.png", np.full_like(target, 255))
    ip, clip = adapter(tmp_path / "ip.safetensors", unet), vision(tmp_path / "vision")
    each = [plain, paint(Extras(trained)), paint(Extras(trained, control_image=white)),
            paint(Extras(ip_adapter=ip, image_encoder=clip)), paint(Extras(trained, None, 1.0, ip, clip))]  # fmt: skip
    assert len({image.tobytes() for image in each}) == len(each)
    np.testing.assert_array_equal(paint(), plain)


def test_the_command(folder: Path, hair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    target = write(tmp_path / "target.png", portrait()[0])
    given = ["tryon", str(target), "--reference", str(target), "--segmenter", str(hair), "--model", str(folder)]
    done = CliRunner().invoke(app, [*given, "--out", "new/out.png", "--prompt", "curly bob"])
    assert done.exit_code == 0, done.output
    lines = done.stderr.strip().splitlines()
    version = json.loads((folder / "model.json").read_text())["model_version"]
    assert len(lines) == 1 and f"deep_hair_v1 {version}" in lines[0] and "identity not told" in lines[0]
    assert (read_image(tmp_path / "new" / "out.png") != read_image(target)).any()
    assert CliRunner().invoke(app, [*given, "--out", "closer.png", "--closer"]).exit_code == 0
    for more, reason in (
        (["--out", "out.png", "--closer", "--segformer", "none"], "leave it out, or --segformer"),
        (["--out", str(target)], "is the input"),
        (["--out", "out.gif"], "unknown suffix"),
        (["--out", "out.png", "--model", "none"], "artifacts/models/none/verdict.json is not there"),
        (["--out", "out.png", "--yunet", "gone.onnx"], "gone.onnx: no face detector"),
    ):
        failed = CliRunner().invoke(app, [*given, *more])
        assert failed.exit_code == 2 and reason in failed.stderr and len(failed.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out.png").exists()


def test_a_square_picture_is_taken_whole_and_of_another_the_head() -> None:
    whole = np.zeros((100, 100), np.uint8)
    whole[10:60, 25:75] = 255
    assert frame(whole) == Square(0, 0, 100)
    tall = np.zeros((1000, 400), np.uint8)
    tall[200:300, 150:250] = 255
    square = frame(tall)
    assert square.side == 100 / WIDTH and square.left + square.side / 2 == 200
    assert square.top == round(200 - ABOVE * square.side)
    assert frame(tall, (150, 220, 250, 420)).side > square.side, "the face belongs to it"
    tall[:30, :50] = 255
    far = frame(tall)
    assert far.left <= 0 and far.top <= 0 and far.left + far.side >= 250 and far.top + far.side >= 300


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_a_square_holds_the_hair_and_goes_back_where_it_was(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    hair = (rng.random((height, width)) < rng.choice([0.01, 0.3])).astype(np.uint8)
    hair[rng.integers(height), rng.integers(width)] = 1
    for square in (frame(hair), about_face((0.3 * width, 0.2 * height, 0.6 * width, 0.7 * height))):
        cut = square.cut(image)
        assert cut.shape == (square.side, square.side, 3)
        np.testing.assert_array_equal(square.laid(cut, image), image)
    inside = frame(hair).laid(np.ones((frame(hair).side,) * 2, np.uint8), np.zeros_like(hair))
    assert inside[hair != 0].all()
