"""Identity: embeddings of one width and of unit length, weights that load or are refused, nobody for a blur."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inpaint.toy import portrait, settings
from visage.errors import ConfigError, DataError, MissingWeightsError
from visage.export.weights import write_safetensors
from visage.features import encoders
from visage.inpaint.adaface import DEPTHS, PREFIX, AdaFace, load_adaface
from visage.inpaint.identity import open_embedder, projection, sharpness, to_width
from visage.inpaint.pictures import identify
from visage.vision.align import TEMPLATE
from visage.vision.detect import Face

FACE = Face((20, 20, 70, 80), 1.0, (TEMPLATE * 0.5 + 20).astype(np.float32))


def checkpoint(folder: Path, depths: tuple[int, ...] = DEPTHS["ir_18"]) -> tuple[Path, AdaFace]:
    """A checkpoint in the published form, and its network."""
    torch.manual_seed(1)
    network = AdaFace(depths).eval()
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    state = {PREFIX + name: value for name, value in network.state_dict().items()}
    torch.save({"state_dict": {**state, "head.kernel": torch.zeros(512, 3)}}, folder / "adaface.ckpt")
    return folder / "adaface.ckpt", network


def test_adaface_loads_every_tensor_and_sees_bgr(tmp_path: Path) -> None:
    path, network = checkpoint(tmp_path)
    loaded = load_adaface(path)
    for name, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    embed = open_embedder("adaface", path, tmp_path)
    assert embed is not None
    image, _ = portrait(1)
    from visage.vision.align import align

    crop = align(image, FACE.points)[..., ::-1].astype(np.float32)  # type: ignore[arg-type]
    tensor = torch.from_numpy(np.ascontiguousarray(((crop / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]))
    with torch.inference_mode():
        expected = network(tensor)[0].numpy()
    assert np.allclose(embed(image, FACE), expected, atol=1e-5)
    assert np.linalg.norm(expected) == pytest.approx(1, abs=1e-5)


def test_weights_that_would_not_load_are_refused(tmp_path: Path) -> None:
    path, network = checkpoint(tmp_path)
    stored = torch.load(path, weights_only=True)["state_dict"]
    name = "model.body.3.res_layer.1.weight"
    for state, message in (
        ({key: value for key, value in stored.items() if key != name}, r"body\.3\.res_layer\.1\.weight"),
        ({**stored, name: torch.zeros(2)}, r"body\.3\.res_layer\.1\.weight"),
        ({**stored, "model.extra": torch.zeros(2)}, "extra"),
        (network.state_dict(), "not an AdaFace checkpoint"),
        ({}, "not an AdaFace checkpoint"),
    ):
        torch.save({"state_dict": state}, tmp_path / "other.ckpt")
        with pytest.raises(DataError, match=message):
            load_adaface(tmp_path / "other.ckpt")
    (tmp_path / "broken.ckpt").write_bytes(b"none")
    with pytest.raises(DataError, match="cannot be loaded safely"):
        load_adaface(tmp_path / "broken.ckpt")
    for name in ("adaface", "sface"):
        with pytest.raises(MissingWeightsError, match=r"absent\.ckpt"):
            open_embedder(name, tmp_path / "absent.ckpt", tmp_path)
    (tmp_path / "x.onnx").write_bytes(b"none")
    with pytest.raises(DataError, match="SFace"):
        open_embedder("sface", tmp_path / "x.onnx", tmp_path)
    with pytest.raises((ConfigError, MissingWeightsError), match="insightface|InsightFace"):
        open_embedder("insightface", tmp_path / "absent.onnx", tmp_path)
    with pytest.raises(MissingWeightsError, match="pretrain_encoder"):
        open_embedder("encoder", tmp_path, tmp_path / "none")
    assert open_embedder("none", tmp_path, tmp_path) is None


def test_the_pretrained_encoder_embeds(tmp_path: Path) -> None:
    torch.manual_seed(0)
    write_safetensors(tmp_path / "encoder.safetensors", encoders.encoder_state(encoders.build("mobilenet_v3_small", 1)))
    (tmp_path / "encoder.json").write_text(json.dumps({"arch": "mobilenet_v3_small"}))
    embed = open_embedder("encoder", tmp_path, tmp_path)
    assert embed is not None
    image, _ = portrait(1)
    found = embed(image, FACE)
    assert found.shape == (1024,)
    assert to_width(found).shape == (512,)


@given(width=st.sampled_from([2, 128, 512, 1024]), seed=st.integers(0, 99))
def test_every_width_becomes_512_and_a_narrower_one_keeps_its_cosines(width: int, seed: int) -> None:
    one, other = np.random.default_rng(seed).standard_normal((2, width))
    wide = to_width(one), to_width(other)
    assert all(vector.shape == (512,) and vector.dtype == np.float32 for vector in wide)
    assert np.linalg.norm(wide[0]) == pytest.approx(1, abs=1e-5)
    if width <= 512:
        cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert float(wide[0] @ wide[1]) == pytest.approx(cosine, abs=1e-5)


def test_the_projection_is_orthonormal() -> None:
    assert np.allclose(projection(128).T @ projection(128), np.eye(128))
    assert np.allclose(projection(1024) @ projection(1024).T, np.eye(512))


def test_a_blurred_or_missing_face_is_nobody() -> None:
    image, _ = portrait(1)
    blurred = cv2.GaussianBlur(image, (0, 0), 8)
    assert sharpness(blurred, FACE) < 20 < sharpness(image, FACE)

    def embed(picture: np.ndarray, face: Face) -> np.ndarray:
        return np.ones(8)

    chosen = settings(sharpness=20.0, embedder="encoder")
    there = identify(image, FACE, None, embed, chosen)
    assert (there.missing, np.linalg.norm(there.embedding)) == ("", pytest.approx(1, abs=1e-5))
    for picture, face, embedder, name, reason in (
        (blurred, FACE, embed, "encoder", "blurred"),
        (image, None, embed, "encoder", "no face"),
        (image, Face(FACE.box, 1.0), embed, "adaface", "no points"),
        (image, FACE, None, "none", "off"),
    ):
        found = identify(picture, face, None, embedder, settings(sharpness=20.0, embedder=name))
        assert found.missing == reason
        assert not found.embedding.any()


def test_points_are_looked_for_where_the_polygon_marks_the_face() -> None:
    image, _ = portrait(1)
    seen: list[tuple[int, ...]] = []

    def detector(part: np.ndarray) -> list[Face]:
        seen.append(part.shape)
        return [Face((0, 0, 5, 5), 0.7, np.ones((5, 2), np.float32))]

    def embed(picture: np.ndarray, face: Face) -> np.ndarray:
        assert face.points is not None
        return face.points.ravel()

    found = identify(image, Face((30, 30, 60, 60), 1.0), detector, embed, settings(embedder="sface"))
    assert found.missing == ""
    assert seen == [(61, 61, 3)]
    assert np.allclose(found.embedding, to_width(np.full(10, 16.0)), atol=1e-6)
