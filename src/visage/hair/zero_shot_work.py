"""The work of `segment_zero_shot`: prepared pictures in, a map of confidences each out, in jobs.

An item is known by its pixels and the place that they have in the square, so preparing the same pictures again, in
another order or with another split, computes none of them again.
"""

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visage.errors import MissingWeightsError
from visage.hair.config import ZeroShot
from visage.hair.mediapipe_hair import MISSING_PACKAGE, HairSegmenter, mediapipe_installed
from visage.hair.prepared import HairSet, load_set
from visage.io.atomic import sha256_bytes, sha256_file
from visage.jobs.plan import Item
from visage.jobs.work import Compute, Outcome, code_version

# H x W x 3 uint8 RGB -> the confidence of hair, H x W float32.
Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
CONFIDENCE = "confidence"
MEDIAPIPE, GRABCUT = "mediapipe", "grabcut"
FOLDER = Path(__file__).parent
CODE = {
    MEDIAPIPE: ("mediapipe_hair.py", "zero_shot_work.py"),
    GRABCUT: ("face_fit.py", "grabcut.py", "zero_shot_work.py"),
}
LIBRARIES = {MEDIAPIPE: ("mediapipe", "numpy"), GRABCUT: ("numpy", "opencv-python-headless")}


def choose_method(settings: ZeroShot) -> tuple[str, str]:
    """Which method runs, and the checksum of its model's file, "" for a method without one.

    Raises:
        MissingWeightsError: "mediapipe" without its file.
    """
    file = Path(settings.model_file)
    if settings.method == MEDIAPIPE and not file.is_file():
        raise MissingWeightsError(
            f"zero_shot.model_file={file} is not there: visage models fetch hair_segmenter brings it, "
            "zero_shot.method=auto does without"
        )
    if settings.method == GRABCUT:
        return GRABCUT, ""
    if settings.method != MEDIAPIPE:
        if not file.is_file():
            print(f"zero_shot: {file} is not there (visage models fetch hair_segmenter brings it): GrabCut runs")
            return GRABCUT, ""
        if not mediapipe_installed():
            print(f"zero_shot: {MISSING_PACKAGE}: GrabCut runs")
            return GRABCUT, ""
    HairSegmenter(file).close()  # a file that is no hair segmenter is refused before any worker starts
    return MEDIAPIPE, sha256_file(file)


def picture_item(hair: HairSet, row: int) -> Item:
    """A picture of the set as an item: its key is of its pixels and of their place."""
    inside = hair.inside(row)
    place = f"{hair.size} {[(side.start, side.stop) for side in inside]} ".encode()
    return Item(sha256_bytes(place + np.ascontiguousarray(hair.images[row][inside]).tobytes()), str(row))


@dataclass(frozen=True)
class ZeroShotWork:
    """method: "mediapipe" or "grabcut". model_sha256: of the file at model_path, "" for GrabCut. data: the prepared
    set, which every worker must see."""

    method: str
    model_sha256: str
    model_path: str
    data: Path
    name: str = "segment_zero_shot"

    def identity(self) -> Mapping[str, Any]:
        """Everything that decides a confidence beside the picture."""
        return {
            "method": self.method,
            "model": self.model_sha256,
            "code": code_version(*(FOLDER / file for file in CODE[self.method])),
            "libraries": {library: importlib.metadata.version(library) for library in LIBRARIES[self.method]},
        }

    def open(self) -> Compute:
        """Load the model, if there is one; the result segments pictures of the set."""
        import cv2

        cv2.setNumThreads(1)
        hair = load_set(self.data)
        segmenter = self._segmenter
        with segmenter():
            pass  # a file that cannot be loaded is said before the first job

        def confidence(row: int, answer: Answer) -> NDArray[np.uint8]:
            whole = np.zeros((hair.size, hair.size), np.uint8)
            inside = hair.inside(row)
            whole[inside] = np.rint(answer(np.array(hair.images[row][inside])).clip(0, 1) * 255)
            return whole

        def compute(items: Sequence[Item]) -> Outcome:
            # Opened for each job, because nothing says which is the last, and MediaPipe cannot be closed at exit.
            with segmenter() as answer:
                found = np.stack([confidence(int(item.source), answer) for item in items])
            return Outcome({CONFIDENCE: found}, [""] * len(items))

        return compute

    @contextmanager
    def _segmenter(self) -> Iterator[Answer]:
        """What answers a picture."""
        if self.method == MEDIAPIPE:
            with HairSegmenter(Path(self.model_path)) as segmenter:
                yield segmenter
        else:
            from visage.hair.grabcut import segment_hair

            yield segment_hair
