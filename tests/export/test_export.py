"""The exported formats agree with the eager model and with each other, or nothing is written."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from visage.errors import VisageError
from visage.export.card import STAMP, ModelCard, Preprocessing, parse_card
from visage.export.export import export_model
from visage.export.to_onnx import OPSET
from visage.export.torchscript import CARD_RECORD, load_torchscript
from visage.export.weights import load_safetensors


def answers(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(batch)


def test_all_formats_answer_like_the_eager_model(
    classifier: nn.Module, card: ModelCard, examples: torch.Tensor, tmp_path: Path
) -> None:
    summary = export_model(classifier, card, examples, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    scripted = load_torchscript((tmp_path / "model.ts").read_bytes())
    for batch in (examples[:1], examples[:4]):
        expected = answers(classifier, batch)
        torch.testing.assert_close(scripted(batch), expected)
        torch.testing.assert_close(torch.from_numpy(session.run(["logits"], {"image": batch.numpy()})[0]), expected)
    for format_ in ("safetensors", "ts", "onnx"):
        assert summary["parity"][format_]["max_abs_diff"] <= 1e-5
        assert summary["parity"][format_]["argmax_agreement"] == 1.0


def test_one_stamp_is_in_all_four_files(
    classifier: nn.Module, card: ModelCard, examples: torch.Tensor, tmp_path: Path
) -> None:
    summary = export_model(classifier, card, examples, tmp_path)
    extra = {CARD_RECORD: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(tmp_path / "model.ts", _extra_files=extra)
    _, metadata = load_safetensors(tmp_path / "model.safetensors")
    onnx_text = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map[STAMP]
    cards = [parse_card(text, "here") for text in (extra[CARD_RECORD], metadata[STAMP], onnx_text)]
    cards.append(parse_card((tmp_path / "model.json").read_text(), "model.json"))
    assert cards == [replace(card, model_version=summary["model_version"])] * 4
    assert json.loads((tmp_path / "model.json").read_text())["parity"] == summary["parity"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.json",
        "model.onnx",
        "model.safetensors",
        "model.ts",
    ]


def test_the_model_itself_is_left_as_it_is(
    classifier: nn.Module, card: ModelCard, examples: torch.Tensor, tmp_path: Path
) -> None:
    classifier.train()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    inputs = examples.clone()
    export_model(classifier, card, examples, tmp_path)
    assert classifier.training
    assert all(parameter.requires_grad for parameter in classifier.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.state_dict().items())
    assert torch.equal(inputs, examples)


def test_export_is_quiet(
    classifier: nn.Module,
    card: ModelCard,
    examples: torch.Tensor,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    export_model(classifier, card, examples, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert not list(recwarn)


def test_onnx_runs_on_older_runtimes(
    classifier: nn.Module, card: ModelCard, examples: torch.Tensor, tmp_path: Path
) -> None:
    import onnx

    export_model(classifier, card, examples, tmp_path)
    graph = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    onnx.checker.check_model(graph, full_check=True)
    assert graph.ir_version <= 9
    assert [opset.version for opset in graph.opset_import] == [OPSET]


def test_a_single_example_is_enough(
    classifier: nn.Module, card: ModelCard, examples: torch.Tensor, tmp_path: Path
) -> None:
    export_model(classifier, card, examples[:1], tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert session.run(None, {"image": np.zeros((7, 3, 16, 24), np.float32)})[0].shape == (7, 3)


def test_a_dynamic_size_model_takes_other_sizes(
    segmenter: nn.Module, card: ModelCard, examples: torch.Tensor, tmp_path: Path
) -> None:
    card = replace(card, task="segmentation", classes=["skin", "hair"])
    export_model(segmenter, card, examples, tmp_path, dynamic_size=True)
    other = torch.randn(2, 3, 40, 18)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    logits = torch.from_numpy(session.run(None, {"image": other.numpy()})[0])
    torch.testing.assert_close(logits, answers(segmenter, other), rtol=1e-4, atol=1e-5)
    scripted = load_torchscript((tmp_path / "model.ts").read_bytes())
    torch.testing.assert_close(scripted(other), answers(segmenter, other), rtol=1e-4, atol=1e-5)


def test_a_fixed_size_model_refuses_other_sizes(
    segmenter: nn.Module, card: ModelCard, examples: torch.Tensor, tmp_path: Path
) -> None:
    export_model(segmenter, card, examples, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert session.get_inputs()[0].shape == ["batch", 3, 16, 24]


class BranchOnValues(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        means = image.mean(dim=(2, 3))
        return means if len(image) == 2 else -means


class FixedBatch(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        means = image.mean(dim=(2, 3))
        return means.reshape(int(image.shape[0]), 3)


class NotFinite(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=(2, 3)) * float("nan")


class ReturnsDict(nn.Module):
    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": image.mean(dim=(2, 3))}


class InPlace(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mul_(2).mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (BranchOnValues(), "differ from the eager model"),
        (FixedBatch(), "batch of 1x3x16x24"),
        (NotFinite(), "differ from the eager model by nan"),
        (ReturnsDict(), "returns dict"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_model_that_changes_in_export_is_refused_and_nothing_is_written(
    model: nn.Module, reason: str, card: ModelCard, examples: torch.Tensor, tmp_path: Path
) -> None:
    with pytest.raises(VisageError, match=reason) as error:
        export_model(model, card, examples, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_model_that_works_in_place_keeps_the_examples(
    card: ModelCard, examples: torch.Tensor, tmp_path: Path
) -> None:
    before = examples.clone()
    export_model(InPlace(), card, examples, tmp_path)
    assert torch.equal(before, examples)


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(0, 3, 16, 24),
        torch.zeros(2, 1, 16, 24),
        torch.zeros(2, 3, 24, 16),
        torch.zeros(3, 16, 24),
        torch.zeros(2, 3, 16, 24, dtype=torch.float64),
    ],
    ids=["none", "channels", "size", "axes", "dtype"],
)
def test_examples_that_do_not_fit_the_card_are_refused(
    wrong: torch.Tensor, classifier: nn.Module, card: ModelCard, tmp_path: Path
) -> None:
    with pytest.raises(VisageError, match="examples are"):
        export_model(classifier, card, wrong, tmp_path)


def test_mobilenet_v3_small_exports_within_tolerance(card: ModelCard, tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = torchvision.models.mobilenet_v3_small(num_classes=3).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    examples = torch.randn(8, 3, 64, 64)
    with torch.no_grad():  # settles the batch norms, so that logits are of order one as in a trained net
        model(examples)
    card = replace(card, preprocessing=Preprocessing(64, 64, (0.5,) * 3, (0.5,) * 3))
    summary = export_model(model, card, examples, tmp_path)
    assert summary["parity"]["onnx"]["argmax_agreement"] == 1.0
    assert (tmp_path / "model.onnx").stat().st_size < 7_000_000
