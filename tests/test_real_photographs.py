"""The faces line on real photographs: a broken file is named and the rest goes through, to answers for each of them."""

import json
import shutil
from pathlib import Path

import pytest

from faces.small import head_settings, runtime, settings
from features.random_networks import pretrained
from visage.faces.config import FacesData, PrepareFaces
from visage.faces.evaluate import evaluate
from visage.faces.export import export
from visage.faces.finetune import finetune
from visage.faces.heads import train_heads
from visage.faces.prepare import prepare
from visage.features.config import Features
from visage.features.extract import extract
from visage.serving.predict import predict

SIZE = 96


def test_a_folder_of_photographs_becomes_a_model_that_answers_each(
    portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    raw = tmp_path / "raw"
    photographs = [path for path in sorted(portraits.iterdir()) if "mask" not in path.name and path.suffix != ".md"]
    for path in photographs:
        target = raw / path.stem.rstrip("0123456789_").split("_")[0] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    whole = next(path for path in photographs if path.suffix == ".jpg")
    (raw / "obama" / "truncated.jpg").write_bytes(whole.read_bytes()[:20_000])

    data, metrics = tmp_path / "data", tmp_path / "metrics.json"
    shares = {"train": 0.6, "val": 0.2, "test": 0.2, "max_bad_fraction": 0.2, "duplicate_bits": 56}
    prepare(
        FacesData("folder", str(raw), None), PrepareFaces(size=SIZE, classes=None, **shares),
        seed=1, out=data, metrics=metrics, plots=tmp_path,
    )  # fmt: skip
    quarantined = [json.loads(line) for line in (data / "quarantine.jsonl").read_text().splitlines()]
    assert [row["path"] for row in quarantined] == ["obama/truncated.jpg"]
    assert "truncated" in quarantined[0]["reason"]
    assert len((data / "manifest.jsonl").read_text().splitlines()) == len(photographs)

    common = {"seed": 1, "data": data}
    finetune(
        settings(epochs=2), runtime(), size=SIZE, encoder="", out=tmp_path / "out",
        metrics=metrics, plots=tmp_path, **common,
    )  # fmt: skip
    features, heads = tmp_path / "features", tmp_path / "heads"
    pretrained(tmp_path / "encoder")
    feature_settings = Features(
        "mobilenetv3_small_100", "encoder", None, "avg", SIZE, "torch", "fp32", batch_size=4, images_per_job=3,
        max_bad_fraction=0.0,
    )  # fmt: skip
    extract(
        feature_settings, runtime(), data=data, pretrained=tmp_path / "encoder", out=features,
        metrics=metrics, job_root=tmp_path / "jobs",
    )  # fmt: skip
    train_heads(
        head_settings(epochs=3), runtime(), features=features, out=heads, metrics=metrics, plots=tmp_path, **common
    )
    best = tmp_path / "out/best_model.pth"
    evaluate(
        runtime(), size=SIZE, model=best, heads=heads, features=features, metrics=tmp_path / "evaluation.json",
        plots=tmp_path, **common,
    )  # fmt: skip
    export(
        runtime(), model=best, encoder="", heads=heads, features=features, evaluation=tmp_path / "evaluation.json",
        out=tmp_path / "model", head_out=tmp_path / "head", metrics=metrics, **common,
    )  # fmt: skip
    for model in ("model", "head"):
        summary = predict(tmp_path / model, [raw], tmp_path / f"answers-{model}")
        lines = (tmp_path / f"answers-{model}/predictions.jsonl").read_text().splitlines()
        answered = {Path(row["image"]).name for row in map(json.loads, lines) if "label" in row}
        assert answered == {path.name for path in photographs}
        assert (summary.done, summary.failed) == (len(photographs), 1)
        assert "truncated.jpg" in capsys.readouterr().err
