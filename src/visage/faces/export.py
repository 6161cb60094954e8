"""`export_faces`: the finetuned classifier and the best head as files that need no visage to run.

A head knows only standardised features, so it is exported together with its encoder and their statistics: a picture
goes in, and nobody has to bring the three together again.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visage.export.card import ModelCard, Preprocessing
from visage.export.export import export_model
from visage.export.lineage import lineage
from visage.faces.config import Finetune
from visage.faces.data import face_preprocessing, load_split
from visage.faces.evaluate import load_finetuned
from visage.faces.head_model import head_path, load_head
from visage.features.table import STATISTICS, WEIGHTS, FeatureTable, load_table
from visage.features.timm_encoders import load_encoder
from visage.io.atomic import write_json
from visage.metrics.rounding import rounded
from visage.runtime import Runtime, torch_device

EXAMPLES = 16


class FusedHead(nn.Module):
    """Encoder, standardisation and head in one: (N, 3, S, S) float32 normalised -> (N, classes) logits."""

    def __init__(self, encoder: nn.Module, table: FeatureTable, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.register_buffer("mean", torch.from_numpy(table.mean.copy()))
        self.register_buffer("std", torch.from_numpy(table.std.copy()))

    def forward(self, images: Tensor) -> Tensor:
        return self.head((self.encoder(images) - self.mean) / self.std)


def export(
    runtime: Runtime,
    *,
    seed: int,
    data: Path,
    model: Path,
    encoder: str,
    heads: Path,
    features: Path,
    evaluation: Path,
    out: Path,
    head_out: Path,
    metrics: Path,
) -> None:
    """Write `model` into `out` and the best head into `head_out`, checked on real test pictures, and their parity.

    encoder: the weights of `pretrain_encoder`. heads, features: what `train_heads` and `extract_features` wrote.
    evaluation: evaluate_faces' metrics file, which names the best head; the cards carry its headline numbers.

    Raises:
        VisageError: the exported files do not answer as the checkpoints do.
    """
    torch_device(runtime, seed)
    measured = json.loads(evaluation.read_text(encoding="utf-8"))
    finetuned = _export_finetuned(seed, data, model, encoder, measured["finetuned"], out)
    best = measured["best_head"]
    head = _export_head(seed, data, heads, features, best, measured["heads"][best], head_out)
    write_json(metrics, {"faces": finetuned, "faces_head": head})


def fuse(table: FeatureTable, features: Path, head: nn.Module) -> tuple[nn.Module, Preprocessing]:
    """A picture's way through `head`, in evaluation mode, and how a picture becomes its input."""
    size, mean, std = (table.encoder[name] for name in ("size", "mean", "std"))
    return FusedHead(load_encoder(features), table, head).eval(), Preprocessing(size, size, tuple(mean), tuple(std))


def _export_finetuned(
    seed: int, data: Path, model: Path, encoder: str, measured: dict[str, Any], out: Path
) -> dict[str, Any]:
    """The finetuned network into `out`; its parity and the files' sizes."""
    network, saved = load_finetuned(model)
    config: dict[str, Any] = saved["config"]
    settings = Finetune(**{name: value for name, value in config.items() if name != "size"})
    weights = settings.weights_file(encoder)
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
    return _export(network, card, data, out)


def _export_head(
    seed: int, data: Path, heads: Path, features: Path, name: str, measured: dict[str, Any], out: Path
) -> dict[str, Any]:
    """Head `name` behind its encoder into `out`; its parity and the files' sizes."""
    table = load_table(features)
    head, saved = load_head(head_path(heads, name))
    network, preprocessing = fuse(table, features, head)
    sources = {"manifest": data / "manifest.jsonl", "features": features / STATISTICS, "encoder": features / WEIGHTS}
    params = {"seed": seed, "head": name, **saved["design"], **saved["config"], "encoder": dict(table.encoder)}
    card = ModelCard(
        name="faces_head",
        task="classification",
        preprocessing=preprocessing,
        classes=saved["classes"],
        metrics=measured,
        lineage=lineage(sources, params),
        architecture=f"{saved['encoder']} + {name} head",
    )
    return _export(network, card, data, out)


def _export(network: nn.Module, card: ModelCard, data: Path, out: Path) -> dict[str, Any]:
    """Export with real pictures of the first split that has any, and say so."""
    split = next(part for name in ("test", "val", "train") if (part := load_split(data, name, card.classes)).rows)
    samples = split.samples(card.preprocessing)
    spread = range(0, len(samples), max(1, len(samples) // EXAMPLES))
    examples = torch.stack([torch.from_numpy(samples[(0, index)][0]) for index in spread][:EXAMPLES])
    written: Mapping[str, Any] = export_model(network, card, examples, out)
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    print(f"exported {written['name']} {written['model_version']} to {out}: " + ", ".join(sorted(sizes)))
    return {"parity": rounded(written["parity"], 6), "bytes": sizes}
