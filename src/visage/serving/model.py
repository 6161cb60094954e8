"""An exported model, opened with ONNX Runtime alone: found, checked and ready for batches.

Everything is read from model.onnx itself, so one copied file is enough; model.json beside it is for people. Waiting
threads do not spin: on shared cores a spinning thread takes the core that its sibling needs.
"""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visage.errors import VisageError
from visage.export.card import STAMP, ModelCard, parse_card
from visage.serving.closer import FACTORS, Ask, look_closer

if TYPE_CHECKING:
    import onnxruntime

MODELS = Path("artifacts/models")
FILE = "model.onnx"
QUIET = 3  # ONNX Runtime's severity: errors only
# What the sides of a free input must be multiples of: the networks halve their maps five times.
STRIDE = 32
LARGEST = 4096


class OnnxModel:
    """An exported classifier, segmenter or other model; `run` may be called from several threads at once.

    model: a folder with model.onnx, an .onnx file, or a name under artifacts/models/. threads: for one run; default
    the environment's OMP_NUM_THREADS, else every core this process may use.

    Raises:
        VisageError: not found, not a readable ONNX file, not exported by visage, or its inputs and outputs are not
            those its card speaks of.
    """

    def __init__(self, model: Path | str, threads: int | None = None) -> None:
        self.path = find_model(model)
        self._session = _open(self.path, threads or available_threads())
        self.card = _card(self._session, self.path)
        self._input, self._free, self.output_shape = self._check_ends()

    def card_at(self, size: int | None) -> ModelCard:
        """The card for inputs whose longer side has `size` pixels; None: as it was trained.

        Raises:
            VisageError: the model takes one size only, or `size` is no multiple of 32 from 32 to 4096.
        """
        made = self.card.preprocessing
        if size is None:
            return self.card
        if size % STRIDE or not STRIDE <= size <= LARGEST:
            raise VisageError(f"size={size}: it must be a multiple of {STRIDE} from {STRIDE} to {LARGEST}, such as 512")
        if not self._free:
            trained = f"{made.width}x{made.height}"
            raise VisageError(f"{self.path}: takes pictures of {trained} pixels only: leave out the size")
        longer = max(made.height, made.width)
        height, width = (max(1, round(side * size / longer / STRIDE)) * STRIDE for side in (made.height, made.width))
        return replace(self.card, preprocessing=replace(made, height=height, width=width))

    def how_to_ask(self, size: int | None, closer: bool) -> tuple[ModelCard, Ask]:
        """The card of the inputs (`card_at`), and what makes logits of a batch of them: `run`, or with `closer` the
        closer look of `visage.serving.closer`.

        Raises:
            VisageError: what `card_at` raises; a size beside closer; a closer look by another model than a segmenter of
                hair whose input is square and of free size.
        """
        if not closer:
            return self.card_at(size), self.run
        made = self.card.preprocessing
        if size is not None:
            raise VisageError("a closer look sets the sizes itself: leave out the size")
        if self.card.classes[1:] != ["hair"] or made.height != made.width or not self._free:
            needs = "a segmenter of hair with a square input of free size"
            raise VisageError(f"{self.path}: a closer look needs {needs}: leave out closer")
        return self.card_at(FACTORS[-1] * made.height), partial(look_closer, self.run, side=made.height)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Preprocessed float32 (N, C, H, W) -> logits, float32 (N, ...).

        Raises:
            VisageError: ONNX Runtime refuses the batch (wrong shape or dtype, out of memory).
        """
        try:
            return self._session.run(None, {self._input: batch})[0]
        except Exception as error:  # ONNX Runtime's own exception types share no base class
            raise VisageError(f"{self.path}: cannot run a batch of {batch.shape} ({_line(error)})") from error

    def _check_ends(self) -> tuple[str, bool, tuple[int | str | None, ...]]:
        """The input's name, whether its height and width are free, and the output's shape: a free side is a name or
        None."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise VisageError(f"{self.path}: {len(inputs)} inputs and {len(outputs)} outputs, one of each is expected")
        wanted = self.card.preprocessing
        sides = (wanted.channels, wanted.height, wanted.width)
        shape = tuple(inputs[0].shape)
        fits = len(shape) == 4 and all(a == b or not isinstance(a, int) for a, b in zip(shape[1:], sides, strict=True))
        if inputs[0].type != "tensor(float)" or not fits:
            raise VisageError(f"{self.path}: takes {inputs[0].type} {shape}, but its card says float32 Nx{sides}")
        free = not any(isinstance(side, int) for side in shape[2:])
        return inputs[0].name, free, tuple(outputs[0].shape)


def read_card(model: Path | str) -> ModelCard:
    """The card of an exported model, given as `OnnxModel` takes it.

    Raises:
        VisageError: not found, not a readable ONNX file, or not exported by visage.
    """
    path = find_model(model)
    return _card(_open(path, threads=1), path)


def find_model(model: Path | str) -> Path:
    """The .onnx file that a folder, a file or a bare name under artifacts/models/ stands for.

    Raises:
        VisageError: there is none; the message says where it was looked for.
    """
    given = Path(model)
    if given.is_file():
        return given
    folders = [given] if len(given.parts) > 1 else [given, MODELS / given]
    for folder in folders:
        if (folder / FILE).is_file():
            return folder / FILE
    looked = " and ".join(str(folder / FILE) for folder in folders)
    raise VisageError(
        f"no model {str(model)!r}: looked for {looked}: give a folder, a file or a name, or run its export"
    )


def available_threads() -> int:
    """OMP_NUM_THREADS where it is a number above 0, else the cores this process may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open(path: Path, threads: int) -> "onnxruntime.InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.use_deterministic_compute = True
    options.log_severity_level = QUIET
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exception types share no base class
        raise VisageError(f"{path}: not a readable ONNX model ({_line(error)}): export or copy it again") from error


def _card(session: Any, path: Path) -> ModelCard:
    text = session.get_modelmeta().custom_metadata_map.get(STAMP)
    if text is None:
        raise VisageError(f"{path}: not exported by visage (no {STAMP!r} in its metadata): use export_model")
    return parse_card(text, str(path))


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
