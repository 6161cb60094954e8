"""The work of `extract_features`: pictures in, one float32 vector each out, in jobs.

Whatever decides a vector's bits is in `identity`: the weights by their hash, the settings, the decoder, the versions of
the libraries, and the source of the modules in `CODE`. Vectors stay float32 here, because they are standardised with
statistics that only all of them together have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from visage.errors import BadImageError, DataError
from visage.features.config import Features
from visage.io.images import DECODER, decode
from visage.jobs.plan import Item
from visage.jobs.work import Compute, Outcome, code_version
from visage.vision.resize import resize

VECTORS = "features"
PACKAGE = Path(__file__).parents[1]
CODE = (
    "features/backends.py", "features/encoders.py", "features/extraction.py", "features/graph.py",
    "features/timm_encoders.py", "io/headers.py", "io/images.py", "vision/resize.py",
)  # fmt: skip
LIBRARIES = ("numpy", "opencv-python-headless", "timm", "torch")
DECIDING = ("encoder", "global_pool", "size", "backend", "precision", "batch_size")


@dataclass(frozen=True)
class Extraction:
    """encoder: the folder with the encoder's weights and description, which every worker must see; device: of runtime.

    weights_sha256: of the file of weights in it.
    """

    settings: Features
    encoder: Path
    weights_sha256: str
    device: str
    name: str = "extract_features"

    def identity(self) -> Mapping[str, Any]:
        """Everything that decides a vector beside the picture."""
        libraries = (*LIBRARIES, "openvino") if self.settings.backend == "openvino" else LIBRARIES
        return {
            **{key: getattr(self.settings, key) for key in DECIDING},
            "weights": self.weights_sha256,
            "device": self.device,
            "decoder": DECODER,
            "code": code_version(*(PACKAGE / file for file in CODE)),
            "libraries": {library: version(library) for library in libraries},
        }

    def open(self) -> Compute:
        """Load the encoder; the result decodes pictures and runs it over them."""
        import cv2

        from visage.features.backends import open_backend

        cv2.setNumThreads(1)
        run = open_backend(self.settings, self.encoder, self.device, threads=1)
        size, batch = self.settings.size, self.settings.batch_size

        def compute(items: Sequence[Item]) -> Outcome:
            pictures = np.zeros((len(items), size, size, 3), np.uint8)
            errors = [read_into(picture, item) for picture, item in zip(pictures, items, strict=True)]
            vectors = [run(pictures[start : start + batch]) for start in range(0, len(items), batch)]
            return Outcome({VECTORS: np.concatenate(vectors)}, errors)

        return compute


def read_into(picture: np.ndarray, item: Item) -> str:
    """Decode and stretch an item's file into `picture` (S x S x 3 uint8); returns "", or why it cannot be read.

    Raises:
        DataError: there is no such file.
        OSError: the disk or the network failed: that says nothing about the picture.
    """
    try:
        content = Path(item.source).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{item.source} is not there: make the pictures again (dvc repro prepare_faces)") from None
    height, width = picture.shape[:2]
    try:
        picture[:] = resize(decode(content, item.source, at_least=(height, width)), width, height)
    except BadImageError as error:
        return str(error).removeprefix(f"{item.source}: ")
    return ""
