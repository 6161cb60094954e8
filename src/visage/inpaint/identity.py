"""Who is in a picture, as a unit vector of 512 numbers: by AdaFace, SFace, InsightFace, or the pretrained encoder.

Vectors of another width come to 512 by a fixed matrix with orthonormal rows or columns, so that a narrower embedding
keeps its cosines exactly. A face that is blurred or missing has no identity: its vector is 0 and is flagged, because an
embedding of a blur looks like any other and means nobody.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import ConfigError, DataError, MissingWeightsError
from visage.export.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from visage.vision.align import SIDE, align, crop_square
from visage.vision.detect import Face
from visage.vision.normalise import normalise

WIDTH = 512
HEAD = 128  # pixels a side of the head that the pretrained encoder sees
MARGIN = 0.25  # of a face's box, for embedders that see the whole head
# Which embedders need the five points of a face, not only its box.
ALIGNED = ("adaface", "sface", "insightface")
NULL: NDArray[np.float32] = np.zeros(WIDTH, np.float32)
# RGB H x W x 3 uint8 and a face of it -> the embedder's own vector.
Embedder = Callable[[NDArray[np.uint8], Face], NDArray[np.float32]]


def open_embedder(name: str, file: Path, encoder: Path) -> Embedder | None:
    """The embedder `name` with the weights in `file`; "none" is None.

    encoder: the folder of pretrain_encoder, for "encoder".

    Raises:
        MissingWeightsError: the weights are not there.
        VisageError: they are something else, or a package is missing.
    """
    if name == "none":
        return None
    return OPENERS[name](encoder if name == "encoder" else file)


def sharpness(image: NDArray[np.uint8], face: Face) -> float:
    """The variance of the Laplacian of the face's grey, 112 x 112: below about 20 it is blurred beyond recognition."""
    crop = crop_square(image, face.box, SIDE)
    return float(cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def to_width(vector: NDArray[np.floating]) -> NDArray[np.float32]:
    """`vector` (D) as a unit vector of 512 float32.

    Raises:
        ValueError: it is 0 or not finite, so that it has no direction.
    """
    wide = np.asarray(vector, np.float64).ravel()
    if len(wide) != WIDTH:
        wide = projection(len(wide)) @ wide
    length = float(np.linalg.norm(wide))
    if not np.isfinite(length) or length == 0:
        raise ValueError("an embedding without a direction")
    return (wide / length).astype(np.float32)


@cache
def projection(width: int) -> NDArray[np.float64]:
    """The fixed matrix 512 x `width`: orthonormal columns where width < 512, else orthonormal rows."""
    random = np.random.default_rng(WIDTH).standard_normal((max(width, WIDTH), min(width, WIDTH)))
    orthonormal, upper = np.linalg.qr(random)
    # The signs that QR leaves open are the library's choice.
    orthonormal = orthonormal * np.sign(np.diag(upper))
    return orthonormal if width <= WIDTH else orthonormal.T


def _encoder(folder: Path) -> Embedder:
    """What the pretrained encoder's last layer saw of the head: it was trained to tell drawn people apart."""
    import torch

    from visage.features.pretrained import open_encoder

    network = open_encoder(folder)
    torch.set_num_threads(1)
    preprocessing = Preprocessing(HEAD, HEAD, IMAGENET_MEAN, IMAGENET_STD)

    def embed(image: NDArray[np.uint8], face: Face) -> NDArray[np.float32]:
        crop = crop_square(image, face.box, HEAD, MARGIN)
        with torch.inference_mode():
            return network(torch.from_numpy(normalise(crop, preprocessing)[None]))[0].numpy()

    return embed


def _adaface(file: Path) -> Embedder:
    import torch

    from visage.inpaint.adaface import load_adaface

    network = load_adaface(file)
    torch.set_num_threads(1)

    def embed(image: NDArray[np.uint8], face: Face) -> NDArray[np.float32]:
        bgr = align(image, _points(face))[..., ::-1]
        tensor = torch.from_numpy(np.ascontiguousarray(bgr.transpose(2, 0, 1)[None], np.float32))
        with torch.inference_mode():
            return network((tensor / 255 - 0.5) / 0.5)[0].numpy()

    return embed


def _sface(file: Path) -> Embedder:
    if not file.is_file():
        raise MissingWeightsError(f"{file}: no SFace there: bring face_recognition_sface_2021dec.onnx of OpenCV's zoo")
    try:
        network = cv2.FaceRecognizerSF.create(str(file), "")
    except cv2.error:
        raise DataError(f"{file}: OpenCV cannot load it as SFace: bring another") from None

    def embed(image: NDArray[np.uint8], face: Face) -> NDArray[np.float32]:
        return network.feature(np.ascontiguousarray(align(image, _points(face))[..., ::-1]))[0]

    return embed


def _insightface(file: Path) -> Embedder:
    try:
        from insightface.model_zoo import get_model  # type: ignore[import-not-found]
    except ImportError:
        raise ConfigError("inpaint.prepare.embedder=insightface: pip install insightface (non-commercial)") from None
    if not file.is_file():
        raise MissingWeightsError(f"{file}: no InsightFace model there: bring its recognition ONNX file")
    network = get_model(str(file), providers=["CPUExecutionProvider"])

    def embed(image: NDArray[np.uint8], face: Face) -> NDArray[np.float32]:
        return network.get_feat(np.ascontiguousarray(align(image, _points(face))[..., ::-1]))[0]

    return embed


def _points(face: Face) -> NDArray[np.float32]:
    assert face.points is not None
    return face.points


OPENERS: dict[str, Callable[[Path], Embedder]] = {
    "encoder": _encoder,
    "adaface": _adaface,
    "sface": _sface,
    "insightface": _insightface,
}
