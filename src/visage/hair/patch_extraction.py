"""The work of `extract_patches`: patches of pictures in, a row of spatial features each out, in jobs.

Whatever decides a feature's bits is in `identity`. Neighbouring patches are of one picture, so a worker keeps the last
picture that it decoded: a large one is decoded once by each worker and not for every job of its patches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visage.errors import BadImageError, DataError
from visage.export.card import IMAGENET_MEAN
from visage.hair.config import Patches
from visage.io.atomic import sha256_bytes
from visage.io.images import DECODER, decode
from visage.jobs.plan import Item
from visage.jobs.work import Compute, Outcome, code_version
from visage.vision.patches import Box, cut

MAPS = "maps"
PACKAGE = Path(__file__).parents[1]
CODE = (
    "features/encoders.py", "hair/patch_encoder.py", "hair/patch_extraction.py", "io/headers.py", "io/images.py",
    "vision/patches.py",
)  # fmt: skip
LIBRARIES = ("numpy", "opencv-python-headless", "torch", "torchvision")
DECIDING = ("size", "batch_size")


@dataclass(frozen=True)
class PatchExtraction:
    """encoder: the folder of pretrain_encoder, which every worker must see; device: of runtime.

    weights_sha256: of the file of weights in it.
    """

    settings: Patches
    encoder: Path
    weights_sha256: str
    device: str
    name: str = "extract_patches"

    def identity(self) -> Mapping[str, Any]:
        """Everything that decides a feature beside the picture and the box."""
        return {
            **{key: getattr(self.settings, key) for key in DECIDING},
            "weights": self.weights_sha256,
            "device": self.device,
            "decoder": DECODER,
            "code": code_version(*(PACKAGE / file for file in CODE)),
            "libraries": {library: version(library) for library in LIBRARIES},
        }

    def open(self) -> Compute:
        """Load the encoder; the result decodes pictures and runs it over their patches."""
        import cv2
        import torch

        from visage.hair.patch_encoder import open_encoder

        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        model = open_encoder(self.encoder).to(self.device).to(memory_format=torch.channels_last)
        size, batch = self.settings.size, self.settings.batch_size
        read = lru_cache(maxsize=1)(read_picture)

        @torch.inference_mode()
        def run(pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
            # One shape for every pass: libraries choose other kernels for others, and the bits would depend on company.
            staging = np.zeros((batch, size, size, 3), np.uint8)
            staging[: len(pictures)] = pictures
            maps = model(torch.from_numpy(staging).to(self.device))[: len(pictures)]
            limit = torch.finfo(torch.float16).max
            return maps.clamp(-limit, limit).half().cpu().numpy()

        def compute(items: Sequence[Item]) -> Outcome:
            pictures = np.zeros((len(items), size, size, 3), np.uint8)
            errors = [cut_into(picture, item, read) for picture, item in zip(pictures, items, strict=True)]
            maps = [run(pictures[start : start + batch]) for start in range(0, len(items), batch)]
            return Outcome({MAPS: np.concatenate(maps)}, errors)

        return compute


def patch_item(picture_sha256: str, path: Path, box: Box) -> Item:
    """The item of a patch: known by the picture's content and the box, found as "path#x0,y0,x1,y1"."""
    place = ",".join(map(str, box))
    return Item(sha256_bytes(f"{picture_sha256}#{place}".encode()), f"{path}#{place}")


def mean_grey() -> NDArray[np.uint8]:
    """The grey beyond a picture's borders, RGB: ImageNet's mean, which normalisation makes 0."""
    return np.rint(np.array(IMAGENET_MEAN) * 255).astype(np.uint8)


def read_picture(path: str) -> tuple[NDArray[np.uint8] | None, str]:
    """The picture and "", or None and why it cannot be read.

    Raises:
        DataError: there is no such file.
        OSError: the disk or the network failed: that says nothing about the picture.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is not there: prepare the pictures again (dvc repro prepare_hair)") from None
    try:
        return decode(content, path), ""
    except BadImageError as error:
        return None, str(error).removeprefix(f"{path}: ")


def cut_into(patch: NDArray[np.uint8], item: Item, read: Any) -> str:
    """Fill `patch` (S x S x 3 uint8) with an item's part of its picture; returns "", or what is wrong with it."""
    path, _, place = item.source.rpartition("#")
    box = Box(*map(int, place.split(",")))
    image, reason = read(path)
    if image is None:
        return reason
    if box.x1 > image.shape[1] or box.y1 > image.shape[0]:
        return f"smaller than its patch {place}: prepare the pictures again"
    patch[:] = cut(image, box, len(patch), mean_grey())
    return ""
