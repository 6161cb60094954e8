"""Predict: run an exported model over pictures and write one row for each to predictions.jsonl.

A bad picture costs its own row and nothing else. Pictures are decoded by a few threads, one batch at a time, so memory
stays flat however many there are; at import this module loads neither ONNX Runtime nor torch.
"""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visage.errors import VisageError
from visage.export.card import ModelCard, Preprocessing
from visage.io.atomic import write_jsonl
from visage.io.images import read_sized
from visage.serving.closer import Ask
from visage.serving.inputs import find_pictures, unique_names
from visage.serving.model import OnnxModel, available_threads
from visage.serving.tasks import Answer, Picture, task_of
from visage.vision.normalise import preprocess

PREDICTIONS = "predictions.jsonl"
Row = dict[str, Any]
Loaded = tuple[Picture, NDArray[np.float32]] | VisageError


@dataclass(frozen=True)
class Summary:
    """How many pictures were answered and how many failed."""

    done: int
    failed: int


def predict(
    model: Path | str,
    images: Sequence[Path | str],
    out: Path,
    *,
    batch_size: int = 16,
    threads: int | None = None,
    alpha: bool = False,
    size: int | None = None,
    closer: bool = False,
) -> Summary:
    """Write out/predictions.jsonl, a row a picture in the order found, and what the model's task writes beside it.

    model: a folder, an .onnx file or a name (see `OnnxModel`). images: files and folders. A row has `image`,
    `model_version` and the task's fields, or `error` for a picture that failed, which is also told on stderr. alpha:
    soft masks too, <name>_alpha.png of 0 to 255. size: pixels of the network's input. closer: look again, closer, where
    hair may be. See `OnnxModel.how_to_ask`.

    Raises:
        VisageError: the model or a path cannot be used, or there are no pictures; nothing is written then.
    """
    if batch_size < 1:
        raise VisageError(f"batch_size={batch_size}: it must be at least 1")
    if out.exists() and not out.is_dir():
        raise VisageError(f"{out}: is a file: name a folder for the predictions")
    threads = threads or available_threads()
    opened = OnnxModel(model, threads)
    task, (card, ask) = task_of(opened), opened.how_to_ask(size, closer)
    if alpha and not task.writes:
        raise VisageError(f"{opened.path}: does {card.task}, which has no soft masks: leave out alpha")
    if closer:
        batch_size = 1  # inputs are sixteen times as large, and asked about one by one anyway
    paths = find_pictures(images, out)
    inside = [path for path in paths if path.resolve().parent == out.resolve()] if task.writes else []
    if inside:
        raise VisageError(f"{inside[0]}: lies in {out}, where a mask could take its place: name another folder for out")
    rows: list[Row] = []
    failed = 0
    with ThreadPoolExecutor(threads) as pool:
        for loaded in _load_batches(paths, _names(paths, alpha), card.preprocessing, batch_size, pool):
            for outcome in _answer_batch(ask, card, task.answer, loaded, out):
                row: Row = {"image": paths[len(rows)].as_posix(), "model_version": card.model_version}
                if isinstance(outcome, VisageError):
                    failed += 1
                    print(outcome, file=sys.stderr)
                    outcome = {"error": str(outcome)}
                rows.append(row | outcome)
    write_jsonl(out / PREDICTIONS, rows)
    return Summary(done=len(rows) - failed, failed=failed)


def _names(paths: Sequence[Path], alpha: bool) -> list[tuple[str, str]]:
    """For each path the names of its mask and of its soft mask ("" for none), all of them different."""
    if not alpha:
        return [(name, "") for name in unique_names(paths)]
    # Together, because a picture may itself be called ..._alpha.
    both = [path.with_name(name) for path in paths for name in (path.name, f"{path.stem}_alpha{path.suffix}")]
    names = unique_names(both)
    return list(zip(names[::2], names[1::2], strict=True))


def _load_batches(
    paths: Sequence[Path],
    names: Sequence[tuple[str, str]],
    preprocessing: Preprocessing,
    batch_size: int,
    pool: ThreadPoolExecutor,
) -> Iterator[list[Loaded]]:
    """Batches of a picture with its network input, or why it cannot be read, in the order of `paths`."""

    def load(path: Path, named: tuple[str, str]) -> Loaded:
        try:
            image, size = read_sized(path, wanted)
        except VisageError as error:
            return error
        return Picture(path, named[0], *size, named[1]), preprocess(image, preprocessing)

    # As in training. A letterbox depends on the exact aspect, which a reduced picture has only roughly.
    wanted = (preprocessing.height, preprocessing.width) if preprocessing.resize == "stretch" else None
    for start in range(0, len(paths), batch_size):
        batch = slice(start, start + batch_size)
        yield list(pool.map(load, paths[batch], names[batch]))


def _answer_batch(
    ask: Ask, card: ModelCard, answer: Answer, loaded: Sequence[Loaded], out: Path
) -> Iterator[Row | VisageError]:
    """The task's fields for each picture, or why it has none, in order."""
    pixels = [item[1] for item in loaded if not isinstance(item, VisageError)]
    logits = iter(ask(np.stack(pixels)) if pixels else ())
    for item in loaded:
        if isinstance(item, VisageError):
            yield item
            continue
        try:
            yield answer(_finite(next(logits), item[0].path), item[0], card, out)
        except VisageError as error:
            yield error


def _finite(logits: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    if not np.isfinite(logits).all():
        raise VisageError(f"{path}: the model's answer is not a number: train or export it again")
    return logits
