"""Export: one call turns a trained model into safetensors, TorchScript and ONNX that agree with it.

All three are made in memory and checked before anything is written, so a folder never holds a model that failed; and
each is the same bytes in every process and directory, because DVC compares them.
"""

import copy
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from visage.errors import VisageError
from visage.export.card import ModelCard
from visage.export.parity import Run, check_parity
from visage.export.to_onnx import INPUT, onnx_bytes
from visage.export.torchscript import load_torchscript, torchscript_bytes
from visage.export.weights import model_version, plain_state, safetensors_bytes
from visage.io.atomic import write_bytes, write_json


def export_model(
    model: nn.Module, card: ModelCard, examples: Tensor, out: Path, *, dynamic_size: bool = False
) -> dict[str, Any]:
    """Write model.safetensors, model.ts, model.onnx and model.json into `out`; `model` itself is left as it is.

    model: maps float32 (N, C, H, W) to one tensor of logits (N, K, ...). examples: preprocessed real inputs, float32
    (N, C, H, W) with N >= 1, of the size in `card.preprocessing`. dynamic_size: the files take other sizes too, tried
    at twice the height and three times the width.

    Returns model.json's content: the card with its model_version, and under "parity" for each format max_abs_diff and
    argmax_agreement against the eager model.

    Raises:
        VisageError: examples do not fit the card, the model does not return one tensor, or parity is out of tolerance.
    """
    examples = _checked(examples, card)
    eager = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    eager = eager.to(memory_format=torch.contiguous_format)
    batches = list(_batches(examples, dynamic_size))
    expected = [_answer(eager, batch) for batch in batches]

    state = plain_state(eager)
    card = replace(card, model_version=model_version(state, card))
    # Traced on two pictures: with one, a squeeze of the batch axis would look right.
    traced_on = torch.tensor(batches[1])
    files = {
        "safetensors": safetensors_bytes(state, card),
        "ts": torchscript_bytes(eager, card, traced_on),
        "onnx": onnx_bytes(eager, card, traced_on, dynamic_size),
    }
    runners = {
        "safetensors": _run_safetensors(files["safetensors"], eager),
        "ts": _run_torchscript(files["ts"]),
        "onnx": _run_onnx(files["onnx"]),
    }
    parity = {
        suffix: check_parity(f"{card.name} as {suffix}", run, batches, expected) for suffix, run in runners.items()
    }
    for suffix, content in files.items():
        write_bytes(out / f"model.{suffix}", content)
    summary = {**asdict(card), "parity": parity}
    write_json(out / "model.json", summary)
    return summary


def _checked(examples: Tensor, card: ModelCard) -> Tensor:
    wanted = (card.preprocessing.channels, card.preprocessing.height, card.preprocessing.width)
    if examples.ndim != 4 or len(examples) == 0 or tuple(examples.shape[1:]) != wanted:
        shape = "x".join(map(str, wanted))
        raise VisageError(
            f"{card.name}: examples are {tuple(examples.shape)}, the card's preprocessing gives Nx{shape}"
        )
    if examples.dtype != torch.float32:
        raise VisageError(f"{card.name}: examples are {examples.dtype}: preprocess them to torch.float32")
    return examples.detach().cpu().contiguous()


def _batches(examples: Tensor, dynamic_size: bool) -> Iterator[NDArray[np.float32]]:
    """Batches of 1, 2 and all examples; where the size is free, one example tiled so that strides still divide it."""
    yield examples[:1].numpy()
    yield (examples if len(examples) > 1 else examples.repeat(2, 1, 1, 1))[:2].numpy()
    yield examples.numpy()
    if dynamic_size:
        yield examples[:1].repeat(1, 1, 2, 3).numpy()


@torch.inference_mode()
def _answer(model: nn.Module, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    logits = model(torch.tensor(batch))  # a copy: a network may work in place
    if not isinstance(logits, Tensor):
        raise VisageError(f"the model returns {type(logits).__name__}: wrap it so that it returns one tensor of logits")
    return logits.numpy()


def _run_safetensors(content: bytes, model: nn.Module) -> Run:
    from safetensors.torch import load

    restored = copy.deepcopy(model)
    restored.load_state_dict(load(content))
    return lambda batch: _answer(restored, batch)


def _run_torchscript(content: bytes) -> Run:
    restored = load_torchscript(content)
    return lambda batch: _answer(restored, batch)


def _run_onnx(content: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {INPUT: batch})[0]
