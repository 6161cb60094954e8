"""`export_inpainter`: the newest inpainter as a folder that paints by itself, if it passes the gate; else its verdict.

The folder always has verdict.json. Weights are there only where it says "passed", so that nobody can take a network
that paints mush for one that does not.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from visage.errors import DataError, VisageError
from visage.export.card import ModelCard, Preprocessing
from visage.export.lineage import lineage
from visage.export.weights import model_version, plain_state, write_safetensors
from visage.features import table
from visage.inpaint.config import PrepareInpaint
from visage.inpaint.gate import judge
from visage.inpaint.prompt_cache import RECORD
from visage.inpaint.record import META, METADATA, read_metadata
from visage.inpaint.snapshots import Snapshot, newest, open_snapshot
from visage.inpaint.train_inpainter import Inputs
from visage.inpaint.tryout_config import Gate
from visage.io.atomic import sha256_file, write_json, write_text

NAME = "deep_hair_v1"
WEIGHTS, PROJECTORS, CONFIG, CARD, VERDICT = (
    f"{NAME}.safetensors", "projectors.safetensors", "config.json", "model.json", "verdict.json",
)  # fmt: skip
AUTOENCODER, PROMPTS, TEXTURE, ENCODER = "autoencoder", "prompts", "texture_encoder.safetensors", "encoder"
# How a picture comes to what the network is shown, for pictures that were never prepared.
PREPARED = ("growth", "sharpness", "embedder_file")
PROMPT_ENCODERS = "encoders"


def export(
    gate: Gate, prepare: PrepareInpaint, *, inputs: Inputs, snapshots: Path, evaluation: Path, out: Path, metrics: Path
) -> None:
    """Write out/verdict.json, and where the gate is passed the weights under diffusers' own names, the projectors,
    config.json, model.json, README.md, and what else painting needs.

    prepare: of prepare_inpaint. snapshots: the folder of train_inpainter. evaluation: of evaluate_inpainter.

    Raises:
        DataError: there is no evaluation.
    """
    gate.check()
    if not evaluation.is_file():
        raise DataError(f"{evaluation} is not there: dvc repro evaluate_inpainter")
    measured = json.loads(evaluation.read_text(encoding="utf-8"))
    # What a folder holds from an earlier run must not outlive a verdict.
    shutil.rmtree(out, ignore_errors=True)
    snapshot, reasons = _newest(snapshots)
    if snapshot is not None:
        reasons = judge(gate, measured["gate"])
        if sha256_file(snapshot.path) != measured["sha256"]:
            reasons.append(f"{snapshot.path.name} is not what was evaluated: dvc repro evaluate_inpainter")
    passed = snapshot is not None and not reasons
    verdict: dict[str, Any] = {
        "passed": passed,
        "reasons": reasons,
        "measured": measured["gate"],
        "thresholds": asdict(gate),
        "step": snapshot.step if snapshot else None,
        "snapshot": snapshot.path.name if snapshot else None,
    }
    if passed:
        assert snapshot is not None
        verdict["model_version"] = _write(snapshot, measured, verdict, prepare, inputs, out)
    write_json(out / VERDICT, verdict)
    sizes = {path.relative_to(out).as_posix(): path.stat().st_size for path in sorted(out.rglob("*.safetensors"))}
    write_json(metrics, {"passed": int(passed), "reasons": reasons, "step": verdict["step"], "bytes": sizes})
    if passed:
        print(f"exported {NAME} {verdict['model_version']} (step {verdict['step']}) to {out}")
    else:
        print(f"NOT exported: {'; '.join(reasons)}. {out} holds the verdict and no weights")


def _newest(folder: Path) -> tuple[Snapshot | None, list[str]]:
    try:
        return newest(folder)[0], []
    except VisageError as error:
        return None, [str(error)]


def _write(
    snapshot: Snapshot,
    measured: Mapping[str, Any],
    verdict: Mapping[str, Any],
    prepare: PrepareInpaint,
    inputs: Inputs,
    out: Path,
) -> str:
    """Write everything that painting needs; returns the model's version."""
    network = open_snapshot(snapshot)
    unet, projectors = plain_state(network.unet), plain_state(network.conditioner)
    meta = json.loads((inputs.data / META).read_text(encoding="utf-8"))
    rows = read_metadata(inputs.data)
    size = int(snapshot.config["size"])
    config = {**snapshot.config, "prepared_size": meta["size"], "identity_by": rows[0].identity_by,
              "sampler": measured["sampler"], **{name: getattr(prepare, name) for name in PREPARED}}  # fmt: skip
    half = (0.5, 0.5, 0.5)
    card = ModelCard(
        name=NAME,
        task="inpainting",
        preprocessing=Preprocessing(size, size, half, half),
        classes=["hair"],
        metrics=dict(measured),
        lineage=lineage({"metadata": inputs.data / METADATA, "snapshot": snapshot.path}, snapshot.config),
        architecture="UNet2DConditionModel",
    )
    version = model_version({**unet, **{f"projectors.{name}": part for name, part in projectors.items()}}, card)
    card = ModelCard(**{**vars(card), "model_version": version})
    write_safetensors(out / WEIGHTS, unet)
    write_safetensors(out / PROJECTORS, projectors)
    write_json(out / CONFIG, config)
    write_json(out / CARD, json.loads(card.to_json()))
    write_text(out / "README.md", _readme(config, measured, verdict, version, unet))
    shutil.copytree(inputs.autoencoder, out / AUTOENCODER, ignore=shutil.ignore_patterns("live"))
    (out / PROMPTS).mkdir()
    shutil.copyfile(inputs.prompts / RECORD, out / PROMPTS / RECORD)
    if (inputs.prompts / PROMPT_ENCODERS).is_dir():
        shutil.copytree(inputs.prompts / PROMPT_ENCODERS, out / PROMPTS / PROMPT_ENCODERS)
    shutil.copyfile(inputs.texture, out / TEXTURE)
    if config["identity_by"] == "encoder":
        (out / ENCODER).mkdir()
        for name in (table.ENCODER, table.WEIGHTS):
            shutil.copyfile(inputs.encoder / name, out / ENCODER / name)
    return version


def _readme(
    config: Mapping[str, Any], measured: Mapping[str, Any], verdict: Mapping[str, Any], version: str,
    unet: Mapping[str, Tensor],
) -> str:  # fmt: skip
    """The model card for people, with every number."""
    count = sum(tensor.numel() for tensor in unet.values())
    numbers = "\n".join(f"| {name} | {value} |" for name, value in sorted(verdict["measured"].items()))
    limits = "\n".join(
        f"| {name} | {value} |" for name, value in sorted(verdict["thresholds"].items()) if value is not None
    )
    ways = "\n".join(
        f"| {way} | " + " | ".join(str(_shown(measured[way].get(name))) for name in COLUMNS) + " |"
        for way in ("inpainter", "opencv", "mean_colour", "autoencoder")
    )
    mask = "1 hair, 0.5 what is repainted about it" if config["outline"] else "1 to paint"
    known = "the bald picture" if config["convention"] == "bald" else "the picture with a grey hole"
    return f"""# {NAME} {version}

Paints hair into a picture: a UNet of {count:,} parameters, {config["size"]} pixels, {verdict["step"]} training steps.

- Input: noisy latents (4), mask (1; {mask}), latents of {known} (4). It predicts: {config["prediction"]}.
- Told: prompt tokens, a style token, an identity token; the style also joins the pooled prompt.
- `{WEIGHTS}` has the names of diffusers' UNet2DConditionModel, `{PROJECTORS}` those of visage's Conditioner.
- Use: `visage tryon TARGET --reference REFERENCE --out FILE`.

Measured on {measured["pictures"]} pictures of {measured["sources"]} people never seen, {measured["sampler"]["name"]} of
{measured["sampler"]["steps"]} steps:

| | {" | ".join(COLUMNS)} |
|---|{"---|" * len(COLUMNS)}
{ways}

| gate | measured |
|---|---|
{numbers}

| threshold | |
|---|---|
{limits}
"""


COLUMNS = ("hair_psnr", "background_psnr", "hair_ssim", "delta_e", "contrast_share", "lpips", "texture_distance")


def _shown(summary: Any) -> Any:
    return summary["mean"] if isinstance(summary, Mapping) else summary if summary is not None else "-"
