"""`export_faces`: the finetuned classifier as files that need no visage to run."""

import json
from pathlib import Path
from typing import Any

import torch

from visage.export.card import ModelCard
from visage.export.export import export_model
from visage.export.lineage import lineage
from visage.faces.data import face_preprocessing, load_split
from visage.faces.evaluate import load_finetuned, rounded
from visage.io.atomic import write_json
from visage.runtime import Runtime, torch_device

EXAMPLES = 16


def export(
    runtime: Runtime, *, seed: int, data: Path, model: Path, encoder: str, evaluation: Path, out: Path, metrics: Path
) -> None:
    """Write the exported model into `out`, checked against the checkpoint on real test pictures, and its parity.

    `evaluation` is evaluate_faces' metrics file: the card carries its headline numbers.

    Raises:
        VisageError: the exported files do not answer as the checkpoint does.
    """
    torch_device(runtime, seed)
    network, saved = load_finetuned(model)
    config: dict[str, Any] = saved["config"]
    split = next(part for name in ("test", "val", "train") if (part := load_split(data, name, saved["classes"])).rows)
    samples = split.samples(face_preprocessing(config["size"]))
    spread = range(0, len(samples), max(1, len(samples) // EXAMPLES))
    examples = torch.stack([torch.from_numpy(samples[(0, index)][0]) for index in spread][:EXAMPLES])
    measured = json.loads(evaluation.read_text(encoding="utf-8"))["finetuned"]
    weights = {"encoder": encoder, "file": config["weights_path"]}.get(config["weights"])
    sources = {"manifest": data / "manifest.jsonl"} | ({"weights": Path(weights)} if weights else {})
    card = ModelCard(
        name="faces",
        task="classification",
        preprocessing=face_preprocessing(config["size"]),
        classes=saved["classes"],
        metrics=measured,
        lineage=lineage(sources, {"seed": seed, **config}),
        architecture=config["arch"],
    )
    written = export_model(network, card, examples, out)
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    write_json(metrics, {"parity": rounded(written["parity"], 6), "bytes": sizes})
    print(f"exported {written['name']} {written['model_version']} to {out}: " + ", ".join(sorted(sizes)))
