"""`export_eyes`: the pupil networks as files that need no visage to run, each taking whole frames of 400 x 640.

The regression network learned centres on smaller frames, where the first pixel's centre lies elsewhere; what is
exported says them as its own input has them, so that nobody has to know the size that it was trained at.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visage.errors import VisageError
from visage.export.card import ModelCard
from visage.export.export import export_model
from visage.export.lineage import lineage
from visage.eyes.data import eye_preprocessing
from visage.eyes.networks import FRAME, KINDS, AtFullSize, load_trained
from visage.eyes.prepared import INDEX, META, EyeSet, load_set
from visage.io.atomic import write_json
from visage.runtime import Runtime, torch_device
from visage.vision.normalise import preprocess

EXAMPLES = 8
# The most that an ONNX file may take, weights included.
MAX_BYTES = 300_000
SEGMENTS, REGRESSES = ("background", "pupil"), ("cx", "cy", "rx", "ry")


class WholeEllipse(nn.Module):
    """`network` trained on frames of height x width: (B, 1, 400, 640) -> (cx / W, cy / H, rx / R, ry / R) of a whole
    frame, the first pixel's centre being 0 in both."""

    shift: Tensor

    def __init__(self, network: nn.Module, height: int, width: int) -> None:
        super().__init__()
        self.network = network
        # (x + 0.5) / width is what both have in common.
        x, y = 0.5 / width - 0.5 / FRAME[1], 0.5 / height - 0.5 / FRAME[0]
        self.register_buffer("shift", torch.tensor([x, y, 0.0, 0.0]))

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image) + self.shift


def export(
    runtime: Runtime, *, seed: int, data: Path, models: Mapping[str, Path], evaluation: Path, out: Path, metrics: Path
) -> None:
    """Write each of `models` into out/pupil_<name>, checked on real test frames, and parity and sizes into `metrics`.

    data: what prepare_eyes wrote. models: the folders of checkpoints by kind of network ("tiny", "micro", "ellipse").
    evaluation: evaluate_eyes' metrics file, whose numbers the cards carry.

    Raises:
        VisageError: an exported file does not answer as its checkpoint does, or takes more than `MAX_BYTES`.
    """
    torch_device(runtime, seed)
    eyes, measured = load_set(data), json.loads(evaluation.read_text(encoding="utf-8"))
    examples = whole_frames(eyes)
    exported: dict[str, Any] = {}
    for name, folder in models.items():
        core, saved = load_trained(folder, name, (eyes.height, eyes.width))
        regresses = name == "ellipse"
        network = AtFullSize(core)
        sources = {"index": data / INDEX, "meta": data / META}
        params = {"seed": seed, "height": saved["height"], "width": saved["width"], **saved["config"]}
        card = ModelCard(
            name=f"pupil_{name}",
            task="ellipse" if regresses else "segmentation",
            preprocessing=eye_preprocessing(*FRAME),
            classes=list(REGRESSES if regresses else SEGMENTS),
            metrics=measured[name],
            lineage=lineage(sources, params),
            architecture=KINDS[name].model_type,
        )
        whole = WholeEllipse(network, eyes.height, eyes.width).eval() if regresses else network.eval()
        exported[card.name] = export_one(whole, card, examples, out / card.name)
    write_json(metrics, exported)


def export_one(network: nn.Module, card: ModelCard, examples: Tensor, out: Path) -> dict[str, Any]:
    """Export, and the parity and the files' sizes.

    Raises:
        VisageError: as `export`.
    """
    written = export_model(network, card, examples, out)
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    if sizes["model.onnx"] > MAX_BYTES:
        (out / "model.onnx").unlink()
        raise VisageError(f"{card.name}: ONNX of {sizes['model.onnx']:,} bytes, at most {MAX_BYTES:,}: make it smaller")
    print(f"exported {card.name} {written['model_version']} to {out}: ONNX of {sizes['model.onnx'] / 1000:.0f} KB")
    return {"parity": written["parity"], "bytes": sizes}


def whole_frames(eyes: EyeSet) -> Tensor:
    """Prepared frames of the first split that has any, as exported networks take them: (N, 1, 400, 640) float32."""
    rows = next(rows for name in ("test", "val", "train") if len(rows := eyes.split(name)))
    spread = rows[:: max(1, len(rows) // EXAMPLES)][:EXAMPLES]
    preprocessing = eye_preprocessing(*FRAME)
    return torch.stack([torch.from_numpy(preprocess(eyes.images[row], preprocessing)) for row in spread])
