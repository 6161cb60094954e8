"""Backends: every one gives the reference's features, bit for bit the same whatever the neighbours in a batch."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from features.random_networks import pictures, randomise
from visage.errors import ConfigError, DataError
from visage.export.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from visage.features.backends import BACKENDS, check_backend, open_backend, prepare_backend
from visage.features.config import BACKENDS as BACKEND_NAMES
from visage.features.config import Features
from visage.features.timm_encoders import build_encoder, load_encoder
from visage.vision.normalise import preprocess

KINDS = [("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16")]
BATCH, SIZE = 7, 64  # odd: torch's kernels need padding then


def settings(backend: str, precision: str, encoder: str = "mobilenetv3_small_100", size: int = SIZE) -> Features:
    return Features(encoder=encoder, size=size, backend=backend, precision=precision, batch_size=BATCH)


def opened(chosen: Features, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    try:
        check_backend(chosen, "cpu")
    except ConfigError as error:
        pytest.skip(str(error))
    prepare_backend(chosen, folder)
    return open_backend(chosen, folder, "cpu", torch.get_num_threads())


def saved(folder: Path, name: str) -> Path:
    save_file(randomise(build_encoder(name, "avg")).state_dict(), folder / "encoder.safetensors")
    (folder / "encoder.json").write_text(json.dumps({"encoder": name, "global_pool": "avg"}))
    return folder


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of every row of `a` with every row of `b`."""
    return (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("encoder"), "mobilenetv3_small_100")


def test_the_reference_is_the_encoder_behind_the_normalisation_of_serving(folder: Path) -> None:
    images = pictures(BATCH, SIZE)
    prepared = np.stack([preprocess(i, Preprocessing(SIZE, SIZE, IMAGENET_MEAN, IMAGENET_STD)) for i in images])
    with torch.inference_mode():
        expected = load_encoder(folder)(torch.from_numpy(prepared)).numpy()
    found = opened(settings("torch", "fp32"), folder)(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("backend", "precision"), KINDS[1:])
@pytest.mark.parametrize(("name", "size"), [("mobilenetv3_small_100", SIZE), ("efficientnet_b0", 96)])
def test_every_backend_gives_the_features_of_the_reference(
    backend: str, precision: str, name: str, size: int, folder: Path, tmp_path: Path
) -> None:
    place = folder if name == "mobilenetv3_small_100" else saved(tmp_path, name)
    images = pictures(BATCH, size)
    run = opened(settings(backend, precision, name, size), place)
    expected = opened(settings("torch", "fp32", name, size), place)(images)
    similar = cosines(run(images), expected)
    assert similar.diagonal().min() >= 0.999
    assert similar[~np.eye(BATCH, dtype=bool)].max() < 0.99


@pytest.mark.parametrize(("backend", "precision"), KINDS)
@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "efficientnet_b0"])
def test_features_do_not_depend_on_the_place_in_the_batch_or_the_neighbours(
    backend: str, precision: str, name: str, folder: Path, tmp_path: Path
) -> None:
    place = folder if name == "mobilenetv3_small_100" else saved(tmp_path, name)
    run, images = opened(settings(backend, precision, name), place), pictures(BATCH, SIZE)
    full = run(images)
    assert len(np.unique(full, axis=0)) == BATCH
    for shift in range(BATCH):
        np.testing.assert_array_equal(run(np.roll(images, shift, axis=0)), np.roll(full, shift, axis=0))
        np.testing.assert_array_equal(run(images[shift : shift + 1]), full[shift : shift + 1])
    np.testing.assert_array_equal(run(images[:4]), full[:4])
    np.testing.assert_array_equal(run(np.stack([images[2]] * BATCH)), full[[2] * BATCH])


@pytest.mark.parametrize(("backend", "precision"), KINDS)
def test_what_a_call_returned_stays_as_it_was(backend: str, precision: str, folder: Path) -> None:
    run, images = opened(settings(backend, precision), folder), pictures(BATCH, SIZE)
    first = run(images)
    kept = first.copy()
    run(images[::-1])
    np.testing.assert_array_equal(first, kept)


def test_a_worker_can_be_sent_all_it_needs(folder: Path) -> None:
    chosen, place = pickle.loads(pickle.dumps((settings("openvino", "fp32"), folder)))
    prepare_backend(chosen, folder)
    assert open_backend(chosen, place, "cpu", 1)(pictures(1, SIZE)).shape == (1, 1024)


def test_workers_of_openvino_never_load_torch(folder: Path) -> None:
    prepare_backend(settings("openvino", "fp32"), folder)
    program = (
        "import sys, numpy as np; from pathlib import Path; from visage.features.extraction import Extraction\n"
        "from visage.features.config import Features\n"
        f"chosen = Features(encoder='x', size={SIZE}, backend='openvino', precision='fp32', batch_size=2)\n"
        f"Extraction(chosen, Path({str(folder)!r}), '', 'cpu').open()\n"
        "print([name for name in ('torch', 'timm', 'torchvision') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_bf16_is_refused_where_the_processor_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    monkeypatch.setattr("openvino.Core.get_property", lambda *_: ["FP32", "INT8"])
    for backend in BACKENDS:
        with pytest.raises(ConfigError, match=r"features\.precision=bf16: this processor .* features\.precision=fp32"):
            check_backend(settings(backend, "bf16"), "cpu")
        check_backend(settings(backend, "fp32"), "cpu")


def test_a_graphics_card_that_is_absent_or_has_no_bf16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"runtime\.device=cuda, but torch sees no GPU"):
        check_backend(settings("torch", "fp32"), "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(ConfigError, match="this graphics card has no bf16"):
        check_backend(settings("torch", "bf16"), "cuda")


def test_openvino_is_refused_on_a_graphics_card(folder: Path) -> None:
    for refuse in (check_backend, lambda chosen, device: open_backend(chosen, folder, device, 1)):
        with pytest.raises(ConfigError, match=r"runtime\.device=cuda: use features\.backend=torch"):
            refuse(settings("openvino", "fp32"), "cuda")


def test_a_network_that_has_no_onnx_form_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise torch.onnx.errors.UnsupportedOperatorError("aten::odd", 17, None)

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(
        ConfigError, match=r"mobilenetv3_small_100 has no ONNX form .*aten::odd.* features\.backend=torch"
    ):
        prepare_backend(settings("openvino", "fp32"), folder)


def test_weights_larger_than_an_onnx_file_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visage.features.graph.LARGEST_WEIGHTS", 1000)
    with pytest.raises(ConfigError, match=r"larger than an ONNX file .* features\.backend=torch"):
        prepare_backend(settings("openvino", "fp32"), folder)


def test_a_folder_without_an_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"encoder\.json is not there"):
        open_backend(settings("torch", "fp32"), tmp_path, "cpu", 1)


def test_the_configuration_knows_the_registered_backends() -> None:
    assert set(BACKEND_NAMES) == BACKENDS.keys()
