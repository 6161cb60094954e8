"""How each task's logits become a row of predictions.jsonl: a registry of decorated functions.

A task states the shape its logits must have for a card, so that a model whose file and card disagree is refused before
the first picture and not in each row. A new task is one decorated function here or in a module that predict imports.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visage.errors import VisageError
from visage.export.card import ModelCard
from visage.serving.model import OnnxModel

SCORE_DIGITS = 6


@dataclass(frozen=True)
class Picture:
    """One input picture. path: as found. name: unique in a run, for files made from it. height, width: its own size."""

    path: Path
    name: str
    height: int
    width: int


Answer = Callable[[NDArray[np.float32], Picture, ModelCard, Path], dict[str, Any]]
OutputShape = Callable[[ModelCard], tuple[int | None, ...]]


@dataclass(frozen=True)
class Task:
    """answer: (one picture's logits, the picture, the card, the output folder) -> the row's own fields.

    output_shape: one picture's logits for a card, None where a side is free.
    """

    answer: Answer
    output_shape: OutputShape


TASKS: dict[str, Task] = {}


def task(name: str, output_shape: OutputShape) -> Callable[[Answer], Answer]:
    """Register the decorated function as the answer of task `name`."""

    def register(answer: Answer) -> Answer:
        TASKS[name] = Task(answer, output_shape)
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
