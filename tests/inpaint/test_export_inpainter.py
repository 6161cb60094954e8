"""Export: which snapshot it takes, what the gate asks, and that nothing is left of a model that did not pass."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from inpaint.export_toy import GATE, LATEST, SUMMARY, evaluation, make_inputs, network, run, snapshot
from inpaint.toy import settings
from visage.errors import ConfigError, DataError
from visage.inpaint.export_inpainter import CARD, CONFIG, PROJECTORS, VERDICT, WEIGHTS, export
from visage.inpaint.exported import open_exported
from visage.inpaint.gate import judge
from visage.inpaint.inpainter_net import network_config, write_inpainter
from visage.inpaint.snapshots import newest, open_snapshot
from visage.inpaint.style import KIND
from visage.inpaint.train_inpainter import Inputs
from visage.inpaint.tryout_config import Gate
from visage.inpaint.unet import add_lora


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        return make_inputs(folder)


def test_a_passing_model_is_a_folder_that_diffusers_loads(made: Inputs, tmp_path: Path) -> None:
    path = snapshot(tmp_path / "snapshots" / LATEST, made, 6)
    measured = evaluation(tmp_path / "evaluation.json", path)
    verdict = run(tmp_path, made, path.parent, measured)
    out = tmp_path / "deep_hair_v1"
    assert verdict["passed"] and verdict["step"] == 6 and not verdict["reasons"]
    config, card = (json.loads((out / name).read_text()) for name in (CONFIG, CARD))
    unet = UNet2DConditionModel.from_config(config["unet"])
    state = load_file(out / WEIGHTS)
    assert set(state) == set(unet.state_dict())
    unet.load_state_dict(state, strict=True)
    theirs = network(made)
    for name, tensor in theirs.unet.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)
    theirs.conditioner.load_state_dict(load_file(out / PROJECTORS), strict=True)
    evaluated = json.loads(measured.read_text())
    assert card["metrics"] == evaluated and card["metrics"]["inpainter"]["hair_psnr"] == SUMMARY
    assert card["model_version"] == verdict["model_version"] != ""
    readme = (out / "README.md").read_text()
    assert all(str(number) in readme for number in GATE.values()) and str(SUMMARY["mean"]) in readme
    again = run(tmp_path, made, path.parent, measured)
    assert again == verdict
    opened = open_exported(out)
    kept = theirs.state_dict()
    assert opened.painter.network.state_dict().keys() == kept.keys()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in opened.painter.network.state_dict().items())


def test_the_version_is_the_weights(made: Inputs, tmp_path: Path) -> None:
    versions = []
    for seed in (0, 1, 0):
        path = snapshot(tmp_path / "snapshots" / LATEST, made, 6, seed)
        versions.append(run(tmp_path, made, path.parent, evaluation(tmp_path / "e.json", path))["model_version"])
    assert versions[0] == versions[2] != versions[1]


@pytest.mark.parametrize(
    ("threshold", "name", "passing", "failing"),
    [
        ("psnr", "psnr", 20.0, 19.9), ("over_inpaint", "over_inpaint", 7.0, 6.9),
        ("over_mean", "over_mean", -1.0, -1.1), ("delta_e", "delta_e", 8.0, 8.1),
        ("delta_e", "swapped_delta_e", 8.0, 8.1), ("texture_min", "texture", 0.5, 0.49),
        ("texture_max", "texture", 1.2, 1.21), ("lpips", "lpips", 0.2, 0.21),
    ],
)  # fmt: skip
def test_each_threshold_has_two_sides(threshold: str, name: str, passing: float, failing: float) -> None:
    gate = Gate(**{threshold: passing})
    good: dict[str, Any] = {**GATE, name: passing}
    assert judge(gate, good) == []
    (reason,) = judge(gate, {**good, name: failing})
    assert f"{name} {failing:g}" in reason and f"gate.{threshold}={passing:g}" in reason
    for missing in ("not measured", float("nan"), float("inf"), None):
        (reason,) = judge(gate, {**good, name: missing})
        assert "was not measured" in reason
    assert judge(Gate(), {}) == []


def test_blur_has_too_little_texture_and_noise_too_much() -> None:
    gate = Gate(texture_min=0.5, texture_max=1.2)
    assert "below" in judge(gate, {"texture": 0.1})[0] and "above" in judge(gate, {"texture": 2.5})[0]


def test_a_gate_that_asks_nothing_is_refused(made: Inputs, tmp_path: Path) -> None:
    for gate, reason in ((Gate(), "every threshold is null"), (Gate(psnr=float("nan")), "gate.psnr=nan")):
        with pytest.raises(ConfigError, match=reason):
            export(gate, settings(), inputs=made, snapshots=tmp_path, evaluation=tmp_path / "e.json",
                   out=tmp_path / "out", metrics=tmp_path / "m.json")  # fmt: skip


def test_what_fails_leaves_a_verdict_and_no_weights_of_an_earlier_run(made: Inputs, tmp_path: Path) -> None:
    path = snapshot(tmp_path / "snapshots" / LATEST, made, 6)
    measured = evaluation(tmp_path / "evaluation.json", path)
    run(tmp_path, made, path.parent, measured)
    out = tmp_path / "deep_hair_v1"
    assert list(out.rglob("*.safetensors"))
    verdict = run(tmp_path, made, path.parent, measured, psnr=25.0, lpips=0.2)
    assert not verdict["passed"] and len(verdict["reasons"]) == 2
    assert [file.name for file in out.rglob("*")] == [VERDICT]
    assert json.loads((tmp_path / "metrics.json").read_text())["passed"] == 0
    with pytest.raises(
        DataError, match=r"did not pass the gate \(psnr 20 is below gate.psnr=25; lpips was not"
    ) as error:
        open_exported(out)
    assert "\n" not in str(error.value)


def test_only_what_was_evaluated_is_exported(made: Inputs, tmp_path: Path) -> None:
    path = snapshot(tmp_path / "snapshots" / LATEST, made, 6)
    with pytest.raises(DataError, match=r"evaluation\.json is not there: dvc repro evaluate_inpainter"):
        run(tmp_path, made, path.parent, tmp_path / "evaluation.json")
    measured = evaluation(tmp_path / "evaluation.json", path)
    snapshot(path.parent / "stage2_step_8.safetensors", made, 8)
    verdict = run(tmp_path, made, path.parent, measured)
    assert not verdict["passed"] and "stage2_step_8.safetensors is not what was evaluated" in verdict["reasons"][0]
    assert not list((tmp_path / "deep_hair_v1").rglob("*.safetensors"))


def test_the_newest_is_the_one_of_most_steps_whatever_the_clock_says(made: Inputs, tmp_path: Path) -> None:
    for place, step in enumerate((10, 100, 9)):
        path = snapshot(tmp_path / f"stage2_step_{step}.safetensors", made, step)
        os.utime(path, (1000 - place, 1000 + place))
    assert newest(tmp_path)[0].step == 100
    snapshot(tmp_path / LATEST, made, 100)
    assert newest(tmp_path)[0].path.name == LATEST, "of equal steps the average is taken"


def test_files_that_are_no_inpainter_are_passed_over(made: Inputs, tmp_path: Path) -> None:
    good = snapshot(tmp_path / "stage2_step_2.safetensors", made, 2)
    whole = network(made)
    header = network_config(whole, {"step": 50, "trainable": "full"})
    state = whole.state_dict()
    nan = {**state, "unet.conv_out.bias": torch.full_like(state["unet.conv_out.bias"], torch.nan)}
    few = {name: state[name] for name in [*list(state)[:5], "unet.conv_in.weight"]}
    four = {**state, "unet.conv_in.weight": state["unet.conv_in.weight"][:, :4].clone()}
    for name, tensors in (("a_nan", nan), ("b_few", few), ("c_four", four)):
        write_inpainter(tmp_path / f"{name}.safetensors", tensors, header)
    write_inpainter(tmp_path / "d_stepless.safetensors", state, {**header, "step": None})
    (tmp_path / "e_cut.safetensors").write_bytes(good.read_bytes()[:1000])
    (tmp_path / "f_empty.safetensors").write_bytes(b"")
    save_file(state, tmp_path / "g_headless.safetensors")
    found, refused = newest(tmp_path)
    assert found.path == good and len(refused) == 7 and not any("\n" in reason for reason in refused)
    good.unlink()
    verdict = run(tmp_path, made, tmp_path, evaluation(tmp_path / "e.json", tmp_path / "a_nan.safetensors"))
    assert not verdict["passed"] and "no usable snapshot" in verdict["reasons"][0]


def test_adapters_are_merged_under_plain_names(made: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = network(made)
    names = set(base.unet.state_dict())
    trained = network(made)
    add_lora(trained.unet, 4, 4)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in trained.unet.named_parameters():
            if "lora_B" in name:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    path = tmp_path / "snapshots" / LATEST
    kept = {name: tensor for name, tensor in trained.state_dict().items()
            if "lora" in name or "conv_in" in name or name.startswith("conditioner")}  # fmt: skip
    more = {"convention": "bald", "outline": True, "prediction": "sample", "zero_snr": True, "source": "file",
            "path": "sdxl", "trainable": "lora", "lora": {"rank": 4, "alpha": 4}, "step": 3,
            "style_kind": KIND}  # fmt: skip
    write_inpainter(path, kept, network_config(trained, more))
    monkeypatch.setattr("visage.inpaint.snapshots.open_unet", lambda *_: network(made).unet)
    assert run(tmp_path, made, path.parent, evaluation(tmp_path / "e.json", path))["passed"]
    state = load_file(tmp_path / "deep_hair_v1" / WEIGHTS)
    assert set(state) == names
    changed = [name for name, tensor in base.unet.state_dict().items() if not torch.equal(tensor, state[name])]
    assert changed and all(any(part in name for part in ("to_q", "to_k", "to_v", "to_out")) for name in changed)
    merged = open_snapshot(newest(path.parent)[0])
    assert all(torch.equal(state[name], tensor) for name, tensor in merged.unet.state_dict().items())
    assert open_exported(tmp_path / "deep_hair_v1").config["trainable"] == "lora"
