"""How each task's logits become a row of predictions.jsonl: a registry of decorated functions.

A task states the shape its logits must have for a card, so that a model whose file and card disagree is refused before
the first picture and not in each row. A new task is one decorated function here or in a module that predict imports.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visage.errors import VisageError
from visage.export.card import ModelCard, Preprocessing
from visage.io.atomic import write_bytes
from visage.io.images import encode_png
from visage.serving.model import OnnxModel
from visage.vision.ellipse import Ellipse, fit_ellipse, surest_part
from visage.vision.normalise import placement
from visage.vision.resize import resize

SCORE_DIGITS = 6
# Of what is measured in pixels.
PIXEL_DIGITS = 3
# A mask of this class is that of one ellipse.
PUPIL = "pupil"


@dataclass(frozen=True)
class Picture:
    """One input picture. path: as found. name: unique in a run, for files made from it. height, width: its own size.
    alpha: the name of its soft mask's file, "" for none."""

    path: Path
    name: str
    height: int
    width: int
    alpha: str = ""


Answer = Callable[[NDArray[np.float32], Picture, ModelCard, Path], dict[str, Any]]
OutputShape = Callable[[ModelCard], tuple[int | None, ...]]


@dataclass(frozen=True)
class Task:
    """answer: (one picture's logits, the picture, the card, the output folder) -> the row's own fields.

    output_shape: one picture's logits for a card, None where a side is free. writes: it leaves files named after the
    pictures in the output folder.
    """

    answer: Answer
    output_shape: OutputShape
    writes: bool


TASKS: dict[str, Task] = {}


def task(name: str, output_shape: OutputShape, writes: bool = False) -> Callable[[Answer], Answer]:
    """Register the decorated function as the answer of task `name`."""

    def register(answer: Answer) -> Answer:
        TASKS[name] = Task(answer, output_shape, writes)
        return answer

    return register


def task_of(model: OnnxModel) -> Task:
    """The task that a model's card names.

    Raises:
        VisageError: the task is not known, or the model's output has not the shape that the task needs.
    """
    found = TASKS.get(model.card.task)
    if found is None:
        raise VisageError(f"{model.path}: unknown task {model.card.task!r}: known are {', '.join(sorted(TASKS))}")
    wanted, given = found.output_shape(model.card), model.output_shape[1:]
    if len(wanted) != len(given) or any(
        isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(wanted, given, strict=True)
    ):
        raise VisageError(f"{model.path}: gives logits Nx{given}, but {model.card.task} with its card needs Nx{wanted}")
    return found


@task("classification", output_shape=lambda card: (len(card.classes),))
def classify(logits: NDArray[np.float32], _picture: Picture, card: ModelCard, _out: Path) -> dict[str, Any]:
    """label: the class of the largest logit. scores: softmax, {class: probability to 6 digits}."""
    exponents = np.exp(logits.astype(np.float64) - logits.max())
    scores = (exponents / exponents.sum()).round(SCORE_DIGITS).tolist()
    return {"label": card.classes[int(logits.argmax())], "scores": dict(zip(card.classes, scores, strict=True))}


def _map_shape(card: ModelCard) -> tuple[int | None, ...]:
    return 2, card.preprocessing.height, card.preprocessing.width


@task("segmentation", output_shape=_map_shape, writes=True)
def segment(logits: NDArray[np.float32], picture: Picture, card: ModelCard, out: Path) -> dict[str, Any]:
    """mask: the path of <name>.png in `out`, 0/255 of the picture's own size. area: its pixels. alpha, where asked for:
    the path of the soft mask, 0 to 255.

    The card has two classes, background first. An eye has one pupil: a card that looks for one answers with the surest
    part alone, and adds the ellipse fitted to it (`_row`).
    """
    margin = margin_of(logits, picture.height, picture.width, card.preprocessing)
    mask = surest_part(margin) if PUPIL in card.classes else (margin > 0).astype(np.uint8)
    path = write_bytes(out / f"{picture.name}.png", encode_png(mask * np.uint8(255)))
    row: dict[str, Any] = {"mask": path.as_posix(), "area": int(np.count_nonzero(mask))}
    if picture.alpha:
        soft = np.rint(soft_of(margin) * 255).astype(np.uint8)
        row["alpha"] = write_bytes(out / f"{picture.alpha}.png", encode_png(soft)).as_posix()
    return row | _row(fit_ellipse(mask)) if PUPIL in card.classes else row


def margin_of(
    logits: NDArray[np.float32], height: int, width: int, preprocessing: Preprocessing
) -> NDArray[np.float32]:
    """By how much the second class leads in each pixel of the height x width picture, from logits (2, H, W)."""
    left, top, box_width, box_height = placement(height, width, preprocessing)
    margin = (logits[1] - logits[0])[top : top + box_height, left : left + box_width]
    # The margin is resized and not the mask, whose edge would be as coarse as the network's pixels.
    return resize(margin, width, height)


def soft_of(margin: NDArray[np.float32]) -> NDArray[np.float32]:
    """The second class's probability, softmax of two logits: above 0.5 where the margin is above 0."""
    small = np.exp(-np.abs(margin))  # of a large positive number it would overflow
    return np.where(margin > 0, np.float32(1), small) / (1 + small)


@task("ellipse", output_shape=lambda _: (4,))
def locate(numbers: NDArray[np.float32], picture: Picture, card: ModelCard, _out: Path) -> dict[str, Any]:
    """The ellipse (`_row`), upright, from (cx / W, cy / H, rx / R, ry / R) of the network's input, W x H pixels.

    R is half the diagonal, and the first pixel's centre is 0 in the input as in the picture.
    """
    made = card.preprocessing
    left, top, width, height = placement(picture.height, picture.width, made)
    across, down, half = picture.width / width, picture.height / height, math.hypot(made.height, made.width) / 2
    cx, cy, rx, ry = (float(number) for number in numbers)
    x, y = (cx * made.width + 0.5 - left) * across - 0.5, (cy * made.height + 0.5 - top) * down - 0.5
    return _row(Ellipse(x, y, rx * half * across, ry * half * down))


def _row(ellipse: Ellipse | None) -> dict[str, float | None]:
    """cx, cy, rx, ry in pixels of the picture, the first pixel's centre being 0, and angle in radians, as
    `visage.vision.ellipse.Ellipse` has them; null where there is none."""
    values = dict.fromkeys(("cx", "cy", "rx", "ry", "angle")) if ellipse is None else asdict(ellipse)
    return {name: None if value is None else round(value, PIXEL_DIGITS) for name, value in values.items()}
