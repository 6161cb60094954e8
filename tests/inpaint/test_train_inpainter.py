"""train_inpainter: what a run writes, that a killed one ends the same, and what is refused before it begins."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from inpaint.tiny import SHOWN, Trained, consistency, inpainter, run, save_unet
from inpaint.toy import runtime
from visage.errors import ConfigError, DataError, Unfinished, VisageError
from visage.export.weights import load_safetensors
from visage.inpaint.footprint import components, format_footprint
from visage.inpaint.inpainter_net import load_inpainter, read_inpainter, write_inpainter
from visage.inpaint.record import METADATA, read_metadata, stored_row
from visage.inpaint.shown import Shown, shown_by
from visage.inpaint.snapshots import check_snapshot, newest, open_snapshot
from visage.inpaint.train_inpainter import LATEST, Inputs
from visage.io.atomic import write_jsonl

ROOT = Path(__file__).parents[2]


def start(folder: Path, made: Inputs, epochs: int, processes: int = 1) -> subprocess.Popen[str]:
    """A process that trains into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "DVC_ROOT": str(folder)}
    program = [sys.executable, "-m", "inpaint.tiny", str(folder), str(made.data.parent), str(epochs), str(processes)]
    return subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results(folder: Path) -> dict[str, bytes]:
    """What a run leaves, but for what the tracker writes."""
    plots = [path for path in folder.glob("plots/**/*") if path.is_file()]
    files = [*folder.glob("out/*.safetensors"), *plots, folder / "metrics.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_killed_run_ends_in_the_same_files(
    made: Inputs, tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs = 6
    child = start(tmp_path / "killed", made, epochs)
    while child.poll() is None:
        if list((tmp_path / "killed").glob(".visage/state/*/*/state.pt")):
            child.send_signal(signal.SIGKILL)
        time.sleep(0.005)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed/out" / LATEST).exists()
    assert list((tmp_path / "killed").glob(".visage/state/*/*/snapshots/*.safetensors"))
    again = start(tmp_path / "killed", made, epochs)
    said, errors = again.communicate()
    assert again.returncode == 0, errors
    assert "continuing from epoch" in said
    run(tmp_path / "whole", made, inpainter(epochs=epochs))
    assert "continuing" not in capsys.readouterr().out
    one, other = results(tmp_path / "killed"), results(tmp_path / "whole")
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []
    steps = {f"out/stage2_step_{step}.safetensors" for step in range(2, 19, 2)}
    sheets = {f"plots/sheets/step_{step:05d}.png" for step in range(4, 19, 4)}
    assert steps | sheets | {f"out/stage2_epoch_{epoch}.safetensors" for epoch in range(1, 7)} <= one.keys()
    assert not [*tmp_path.glob("*/.visage/state/*/*/"), *place.glob(".visage/state/*/*/")]


def test_two_processes_train_like_one(made: Inputs, tmp_path: Path, place: Path) -> None:
    both = start(tmp_path / "two", made, 16, processes=2)
    said, errors = both.communicate()
    assert both.returncode == 0, errors
    assert "2 x 1 threads" in said
    one, two = (
        run(tmp_path / "one", made, inpainter(epochs=16)),
        json.loads((tmp_path / "two/metrics.json").read_text()),
    )
    assert two["steps"] == one["steps"] == 48
    # Noise is drawn by each process, so the weights differ; what they reach does not.
    assert two["noise_loss"] == pytest.approx(one["noise_loss"], rel=0.15)
    names = {path.name for path in (tmp_path / "two/out").glob("*.safetensors")}
    assert names == {path.name for path in (tmp_path / "one/out").glob("*.safetensors")}


def test_what_is_trained_is_written_under_its_names(painter_run: Trained) -> None:
    names = {path.name for path in painter_run.out.glob("*.safetensors")}
    snapshots = {f"stage2_step_{step}.safetensors" for step in (2, 4, 6, 8)}
    assert names == snapshots | {f"stage2_epoch_{epoch}.safetensors" for epoch in (1, 2, 3)} | {LATEST}
    plots = {
        path.relative_to(painter_run.folder / "plots").as_posix() for path in painter_run.folder.glob("plots/**/*.*")
    }
    assert plots == {"history.csv", "sheets/step_00004.png", "sheets/step_00008.png"}
    measured = painter_run.metrics
    # Steps are the optimizer's, whatever the micro-batches.
    assert (measured["steps"], measured["epochs"], measured["pictures"]) == (9, 3, 8)
    assert measured["parameters"] == measured["trained_parameters"]
    history = (painter_run.folder / "plots/history.csv").read_text()
    assert {"valid_noise_loss", "train_consistency", "train_ratio"} <= set(history.splitlines()[0].split(","))


def test_a_snapshot_is_a_whole_network_of_the_averaged_weights(painter_run: Trained, made: Inputs) -> None:
    network, config = load_inpainter(painter_run.out / LATEST)
    assert shown_by(config) == SHOWN
    assert (config["step"], config["prediction"], config["zero_snr"]) == (9, "sample", True)
    assert not any(weight.requires_grad for weight in network.parameters())
    last, facts = read_inpainter(painter_run.out / "stage2_epoch_3.safetensors")
    assert facts == config
    assert all(torch.equal(value, last[name]) for name, value in network.state_dict().items())
    earlier, _ = read_inpainter(painter_run.out / "stage2_epoch_2.safetensors")
    assert any(not torch.equal(value, earlier[name]) for name, value in last.items())
    assert (painter_run.out / LATEST).stat().st_size < 1.1 * sum(4 * value.numel() for value in last.values())
    with pytest.raises(DataError, match=r"prompts\.safetensors: not an inpainter: dvc repro train_inpainter$"):
        read_inpainter(made.prompts / "prompts.safetensors")


def test_the_usable_snapshot_of_most_steps_counts(painter_run: Trained, tmp_path: Path) -> None:
    for path in painter_run.out.glob("*.safetensors"):
        shutil.copy(path, tmp_path / path.name)
    chosen, refused = newest(tmp_path)
    assert (chosen.path.name, chosen.step, refused) == (LATEST, 9, [])
    (tmp_path / LATEST).write_bytes((tmp_path / LATEST).read_bytes()[:1000])  # of a full disk
    os.utime(tmp_path / "stage2_step_2.safetensors", (2e9, 2e9))  # copied last
    chosen, refused = newest(tmp_path)
    assert (chosen.path.name, chosen.step, len(refused)) == ("stage2_epoch_3.safetensors", 9, 1)
    state, config = read_inpainter(chosen.path)
    faults = {
        "holds values that are no numbers": (state | {"unet.conv_in.bias": torch.full((32,), torch.nan)}, config),
        "1 tensors are no network": ({"unet.conv_in.weight": state["unet.conv_in.weight"]}, config),
        "after how many steps": (state, {key: value for key, value in config.items() if key != "step"}),
    }
    for message, (faulty, header) in faults.items():
        write_inpainter(chosen.path, faulty, header)
        with pytest.raises(DataError, match=message):
            check_snapshot(chosen.path)
    assert newest(tmp_path)[0].step == 8
    with pytest.raises(DataError, match=r"no usable snapshot of an inpainter: dvc repro train_inpainter$"):
        newest(tmp_path / "nowhere")


def test_training_lowers_the_loss(made: Inputs, place: Path) -> None:
    run(place, made, inpainter(epochs=8, steps=12, lr=5e-3, snapshot_steps=96, sheet_steps=0))
    lines = [line.split(",") for line in (place / "plots/history.csv").read_text().splitlines()]
    losses = [float(line[lines[0].index("valid_noise_loss")]) for line in lines[1:]]
    assert losses[-1] < 0.6 * losses[0]


def test_a_lora_run_writes_adapters_and_conv_in_and_the_conditioner_alone(
    made: Inputs, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    path = "data/raw/weights/unet"
    save_unet(place / path)
    measured = run(place, made, inpainter(trainable="lora", source="file", path=path, epochs=1))
    assert measured["trained_parameters"] < measured["parameters"] / 2
    for name in (LATEST, "stage2_step_2.safetensors", "stage2_epoch_1.safetensors"):
        state, config = read_inpainter(place / "out" / name)
        assert config["trainable"] == "lora"
        assert config["lora"] == {"rank": 4, "alpha": 4}
        kinds = {"lora" if ".lora_" in key else ".".join(key.split(".")[:2]) for key in state}
        assert kinds >= {"lora", "unet.conv_in", "conditioner.style", "conditioner.no_style"}
        assert all(kind == "lora" or kind == "unet.conv_in" or kind.startswith("conditioner.") for kind in kinds)
        assert sum(value.numel() for value in state.values()) == measured["trained_parameters"]
        with pytest.raises(DataError, match=r"^.*: not a whole inpainter: dvc repro train_inpainter$"):
            load_inpainter(place / "out" / name)
    # With the weights that they were trained on they are a network again.
    chosen, refused = newest(place / "out")
    assert (chosen.path.name, chosen.step, refused) == (LATEST, 3, [])
    weights = open_snapshot(chosen).state_dict()
    assert not any("lora" in key for key in weights)
    assert torch.equal(weights["unet.conv_in.weight"], chosen.state["unet.conv_in.weight"])
    before = load_safetensors(place / path / "diffusion_pytorch_model.safetensors")[0]
    changed = {key for key, value in before.items() if not torch.equal(value, weights[f"unet.{key}"])
               if key != "conv_in.weight"}  # fmt: skip
    assert all(re.search(r"attn\d\.to_|^conv_in\.bias$", key) for key in changed)
    assert any("attn2.to_v" in key for key in changed)


def test_the_other_settings_train_too(made: Inputs, place: Path) -> None:
    measured = run(place, made, inpainter(
        prediction="epsilon", zero_snr=False, snr_gamma=5.0, noise_offset=0.1, convention="masked", outline=False,
        checkpointing=True, flips=False, tints=0, consistency=consistency(by="none"), ema=0.0, epochs=1, sheet_steps=3,
    ))  # fmt: skip
    assert measured["convention"] == "masked"
    assert np.isfinite(measured["noise_loss"])
    assert shown_by(load_inpainter(place / "out" / LATEST)[1]) == Shown("masked", False)
    assert (place / "plots/sheets/step_00003.png").is_file()


@pytest.mark.parametrize(
    ("key", "changes"),
    [("inpainter.path", {"source": "file", "path": "{}"}),
     ("inpainter.consistency.file", {"consistency": consistency(by="vgg16", file="{}")})],
)  # fmt: skip
def test_weights_that_the_pipeline_does_not_watch_are_refused(tmp_path: Path, key: str, changes: dict) -> None:
    chosen, none = inpainter(**changes), Inputs(tmp_path, tmp_path, tmp_path)
    given = str(tmp_path / "weights.pth")
    chosen = replace(chosen, path=given) if key == "inpainter.path" else replace(
        chosen, consistency=replace(chosen.consistency, file=given))  # fmt: skip
    with pytest.raises(
        ConfigError, match=rf"^{re.escape(key)}={re.escape(given)}: put or link the file into .*watches$"
    ):
        run(tmp_path, none, chosen)


def test_what_cannot_be_done_is_said_before_anything_is_computed(made: Inputs, place: Path) -> None:
    for changes, message in (
        ({"frozen": "bf16"}, "inpainter.frozen=bf16 with runtime.precision=fp32"),
        ({"kernel": "xformers"}, "inpainter.kernel=xformers cannot be had .*or inpainter.kernel=sdpa"),
        ({"source": "file", "path": "data/raw/weights/sdxl"}, "config.json is not there: .*set inpainter.path"),
        ({"consistency": consistency(by="vgg16", file="data/raw/weights/vgg16.pth")}, "inpainter.consistency.file"),
    ):
        with pytest.raises(VisageError, match=message):
            run(place, made, inpainter(**changes))


def test_bitsandbytes_that_is_not_there_is_one_line(made: Inputs, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visage.inpaint.train_inpainter.find_spec", lambda _: None)
    pattern = (
        r"^inpainter\.optimizer=adamw8bit needs bitsandbytes .*pip install bitsandbytes, or inpainter\.optimizer=adamw$"
    )
    with pytest.raises(ConfigError, match=pattern):
        run(place, made, inpainter(optimizer="adamw8bit"))


def test_a_time_limit_keeps_the_work(made: Inputs, place: Path) -> None:
    with pytest.raises(Unfinished):
        run(place, made, limits=replace(runtime(), max_minutes=1e-6))
    assert not (place / "out" / LATEST).exists()
    assert list(place.glob(".visage/state/train_inpainter/*/train/clean-00000.npy"))


def test_without_training_pictures_nothing_begins(made: Inputs, place: Path) -> None:
    rows = [stored_row(replace(row, split="test")) for row in read_metadata(made.data)]
    write_jsonl(place / "data" / METADATA, rows)
    with pytest.raises(DataError, match=r"inpaint\.prepare\.train"):
        run(place, replace(made, data=place / "data"))


def test_the_memory_of_each_part_is_counted() -> None:
    network = nn.Sequential(nn.Linear(1 << 10, 1 << 10, bias=False), nn.Linear(1 << 10, 1 << 10, bias=False))
    network[0].requires_grad_(False)
    layer = 4 * 2**20 / 2**30
    parts = components(network, nn.Linear(1 << 10, 1 << 10, bias=False), "adamw", averaged=True, activations=0.5)
    assert parts == {
        "weights": 2 * layer, "gradients": layer, "optimizer": 2 * layer, "average (EMA)": layer, "autoencoder": layer,
        "activations": 0.5,
    }  # fmt: skip
    small = components(network, None, "adamw8bit", averaged=False, activations=0.5)
    assert (small["optimizer"], small["average (EMA)"], small["autoencoder"]) == (layer / 2, 0, 0)
    assert format_footprint(parts, runtime()).splitlines()[-1].endswith("0.527 GB of 4")
