"""The work of `prepare_inpaint`: originals in, a pack of files for each out, in jobs that may be killed at any moment.

A pack is a ZIP archive, so that what an original becomes is one row of a shard however many patches it gives; files are
encoded by the workers, and the stage only unpacks them. An original is known by its pixels' file and its polygons:
other splits, prompts and labels compute nothing again.
"""

import importlib.metadata
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import BadImageError
from visage.inpaint.config import PrepareInpaint
from visage.inpaint.identity import open_embedder
from visage.inpaint.pictures import Prepared, prepare_picture, shares
from visage.io.atomic import sha256_bytes
from visage.io.images import DECODER, encode_png, read_file
from visage.io.khairstyle import parse_record, read_square
from visage.io.rgba import encode_rgba
from visage.jobs.plan import Item
from visage.jobs.work import Compute, Outcome, code_version
from visage.vision.detect import open_detector

PACK, COUNT = "pack", "patches"
# numpy strips zeros from the end of bytes, and an archive may end with them.
END = b"\x01"
FACTS = "facts.json"
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format has: the same pictures, the same bytes
PACKAGE = Path(__file__).parents[1]
CODE = (
    "features/encoders.py", "features/pretrained.py", "inpaint/adaface.py", "inpaint/identity.py",
    "inpaint/pictures.py", "inpaint/prepare_work.py", "io/hair_frames.py", "io/headers.py", "io/images.py",
    "io/khairstyle.py", "io/khairstyle_rings.py", "io/rgba.py", "vision/align.py", "vision/bald.py",
    "vision/detect.py", "vision/normalise.py", "vision/patches.py", "vision/resize.py",
)  # fmt: skip
LIBRARIES = ("numpy", "opencv-python-headless", "torch")
# What shapes a picture's files; shares of splits do not.
DECISIVE = (
    "size", "min_side", "growth", "detector", "detector_score", "embedder", "sharpness", "patch", "patch_stride",
    "patch_hair", "patches_per_source", "style",
)  # fmt: skip


def original_item(root: Path, picture: str, label: str) -> Item:
    """An original as an item: its key is of the bytes of its picture and its label's."""
    content = b"".join(read_file(root / name, name) for name in (picture, label))
    return Item(sha256_bytes(content), json.dumps([picture, label]))


@dataclass(frozen=True)
class PrepareWork:
    """settings: of the stage. root: of the originals, which every worker must see. weights: SHA-256 of the detector's
    and the embedder's files, "" for one that is not opened. encoder: the folder of pretrain_encoder."""

    settings: PrepareInpaint
    root: Path
    weights: tuple[str, str]
    encoder: Path
    name: str = "prepare_inpaint"

    def identity(self) -> Mapping[str, Any]:
        """Everything that decides a pack beside the original."""
        settings = asdict(self.settings)
        return {
            "settings": {name: settings[name] for name in DECISIVE},
            "weights": self.weights,
            "decoder": DECODER,
            "code": code_version(*(PACKAGE / file for file in CODE)),
            "libraries": {library: importlib.metadata.version(library) for library in LIBRARIES},
        }

    def open(self) -> Compute:
        """Load the detector and the embedder, once for this process; the result prepares originals."""
        cv2.setNumThreads(1)
        settings = self.settings
        detector = None
        if self.weights[0]:
            detector = open_detector(settings.detector, Path(settings.detector_file), settings.detector_score)
        embedder = open_embedder(settings.embedder, Path(settings.embedder_file), self.encoder)

        def one(item: Item) -> Prepared:
            picture, label = json.loads(item.source)
            record = parse_record(read_file(self.root / label, label), label)
            image = read_square(self.root, picture)
            return prepare_picture(image, record.hair, record.face, settings, detector, embedder)

        def compute(items: Sequence[Item]) -> Outcome:
            packs: list[bytes] = []
            counts: list[int] = []
            errors: list[str] = []
            for item in items:
                try:
                    prepared = one(item)
                    packs.append(pack(prepared) + END)
                    counts.append(len(prepared.patches))
                    errors.append("")
                except BadImageError as error:
                    packs.append(END)
                    counts.append(0)
                    errors.append(str(error).removeprefix(f"{json.loads(item.source)[0]}: "))
            return Outcome({PACK: np.array(packs), COUNT: np.array(counts)}, errors)

        return compute


def pack(prepared: Prepared) -> bytes:
    """The files of one original and `FACTS`, as an uncompressed ZIP archive (PNG does not shrink twice)."""
    files = {
        "image.png": encode_png(prepared.image),
        "bald.png": encode_png(prepared.bald),
        "filled.png": encode_png(prepared.filled),
        "hair.png": encode_rgba(prepared.hair),
        "style.png": encode_rgba(prepared.style),
        "identity.npy": npy(prepared.identity.embedding),
    }
    files |= {f"patch_{index:03d}.png": encode_png(patch) for index, patch in enumerate(prepared.patches)}
    facts = {
        **shares(prepared),
        "face": None if prepared.face is None else [round(value, 2) for value in prepared.face],
        "face_by": prepared.face_by,
        "identity_missing": prepared.identity.missing,
        "patch_candidates": prepared.candidates,
    }
    files[FACTS] = json.dumps(facts).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, ZIP_TIME), content)
    return buffer.getvalue()


def unpack(row: bytes) -> dict[str, bytes]:
    """The files of a pack, as its shard holds it."""
    with zipfile.ZipFile(io.BytesIO(bytes(row)[: -len(END)])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def npy(array: NDArray) -> bytes:
    """`array` as the content of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
