"""The three ways to a hair mask as answers to prepared pictures, so that one table can compare them.

What a stage has written is read, what a network answers is computed; a picture that was answered at its own size is
brought into the prepared square as the picture itself was.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from visage.errors import DataError
from visage.hair.data import hair_preprocessing
from visage.hair.networks import load_network
from visage.hair.prepared import HairSet, load_set
from visage.io.images import read_image
from visage.runtime import Runtime, torch_device
from visage.vision.normalise import normalise
from visage.vision.resize import resize

# A row of the prepared set -> S x S uint8, the coverage that is answered.
Answer = Callable[[int], NDArray[np.uint8]]


def answers_of(
    runtime: Runtime, *, seed: int, data: Path, zero_shot: Path, segmenter: Path, stitched: Path
) -> dict[str, Answer]:
    """All of them by name: the method of `segment_zero_shot`, "finetuned" and "patches".

    data: what prepare_hair wrote; the others are the folders of the stages that answer.

    Raises:
        DataError: one of the stages has not run.
    """
    hair = load_set(data)
    method, confidences = zero_shot_answers(zero_shot)
    return {
        method: confidences,
        "finetuned": trained_answers(segmenter / "best_model.pt", hair, runtime, seed),
        "patches": stitched_answers(stitched, hair),
    }


def zero_shot_answers(folder: Path) -> tuple[str, Answer]:
    """The method that `segment_zero_shot` used, and its confidences.

    Raises:
        DataError: the stage has not run; in use, for a picture that it has not answered.
    """
    if not (folder / "method.json").is_file():
        raise DataError(f"{folder / 'method.json'} is not there: run segment_zero_shot first (dvc repro)")
    method = str(json.loads((folder / "method.json").read_text(encoding="utf-8"))["method"])
    confidence = np.load(folder / "confidence.npy", mmap_mode="r")
    places = {int(row["row"]): place for place, row in enumerate(_rows(folder / "rows.csv"))}

    def answer(row: int) -> NDArray[np.uint8]:
        if int(row) not in places:
            raise DataError(f"{folder}: picture {row} of the prepared set is not answered: run segment_zero_shot again")
        return np.array(confidence[places[int(row)]])

    return method, answer


def trained_answers(checkpoint: Path, hair: HairSet, runtime: Runtime, seed: int) -> Answer:
    """The share of hair that the network of a checkpoint of `train_hair_segmenter` gives.

    Raises:
        DataError: the checkpoint is missing or of another kind.
    """
    device = torch_device(runtime, seed)
    network = load_network(checkpoint)[0].to(device)
    preprocessing = hair_preprocessing(hair.size)

    @torch.inference_mode()
    def answer(row: int) -> NDArray[np.uint8]:
        image = torch.from_numpy(normalise(np.array(hair.images[row]), preprocessing))[None].to(device)
        alpha = network(image).float().softmax(1)[0, 1]
        return (255 * alpha).round().byte().cpu().numpy()

    return answer


def stitched_answers(folder: Path, hair: HairSet) -> Answer:
    """The coverage that `stitch_masks` wrote of every test picture, at the original's size.

    Raises:
        DataError: the stage has not run; in use, for a picture that it has not answered.
    """
    if not (folder / "stitched.csv").is_file():
        raise DataError(f"{folder / 'stitched.csv'} is not there: run stitch_masks first (dvc repro)")
    files = {row["sample_id"]: folder / row["mask"] for row in _rows(folder / "stitched.csv")}

    def answer(row: int) -> NDArray[np.uint8]:
        sample_id = hair.rows[row]["sample_id"]
        if sample_id not in files:
            raise DataError(f"{folder}: {sample_id} is not answered: run stitch_masks again")
        inside = hair.inside(row)
        square = np.zeros((hair.size, hair.size), np.uint8)
        height, width = square[inside].shape
        square[inside] = resize(read_image(files[sample_id])[..., 0], width, height)
        return square

    return answer


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
