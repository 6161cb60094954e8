"""`export_hair`: the trained segmenter as files that need no visage to run, for pictures of any size.

Height and width are free (multiples of 32); the card names the size of training, where the network is at its best.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visage.export.card import ModelCard
from visage.export.export import export_model
from visage.export.lineage import lineage
from visage.hair.data import hair_preprocessing
from visage.hair.networks import load_network
from visage.hair.prepared import INDEX, META, HairSet, load_set
from visage.io.atomic import write_json
from visage.metrics.rounding import rounded
from visage.runtime import Runtime, torch_device
from visage.vision.normalise import normalise

NAME = "hair"
CLASSES = ("background", "hair")
EXAMPLES = 4


def export(
    runtime: Runtime, *, seed: int, data: Path, checkpoint: Path, evaluation: Path, out: Path, metrics: Path
) -> None:
    """Write the network of `checkpoint` into `out`, checked on real test pictures, and parity and sizes into `metrics`.

    data: what prepare_hair wrote. evaluation: evaluate_hair's metrics file, whose numbers the card carries.

    Raises:
        VisageError: an exported file does not answer as its checkpoint does.
    """
    torch_device(runtime, seed)
    hair, measured = load_set(data), json.loads(evaluation.read_text(encoding="utf-8"))
    network, saved = load_network(checkpoint)
    card = ModelCard(
        name=NAME,
        task="segmentation",
        preprocessing=hair_preprocessing(hair.size),
        classes=list(CLASSES),
        metrics=measured["finetuned"],
        lineage=lineage({"index": data / INDEX, "meta": data / META}, {"seed": seed, **saved["config"]}),
        architecture=saved["config"]["arch"],
    )
    written = export_model(network.eval(), card, examples(hair), out, dynamic_size=True)
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    write_json(metrics, {NAME: {"parity": rounded(written["parity"], 6), "bytes": sizes}})
    print(f"exported {NAME} {written['model_version']} to {out}: ONNX of {sizes['model.onnx'] / 1e6:.1f} MB")


def examples(hair: HairSet) -> Tensor:
    """Prepared pictures of the first split that has any: (N, 3, S, S) float32."""
    rows = next(rows for name in ("test", "val", "train") if len(rows := hair.split(name)))
    spread = rows[:: max(1, len(rows) // EXAMPLES)][:EXAMPLES]
    preprocessing = hair_preprocessing(hair.size)
    return torch.stack([torch.from_numpy(normalise(np.array(hair.images[row]), preprocessing)) for row in spread])
