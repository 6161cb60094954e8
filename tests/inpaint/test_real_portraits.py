"""Real photographs in a K-Hairstyle tree go through every step: faces found, bald pictures bald, hair alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from inpaint.toy import run, settings
from visage.hair.mediapipe_hair import HairSegmenter, mediapipe_installed
from visage.inpaint.record import read_metadata
from visage.io.images import read_image
from visage.io.khairstyle_rings import to_rings
from visage.io.khairstyle_writer import write_sample
from visage.io.rgba import read_rgba
from visage.vision.resize import resize

SHARED = Path(__file__).parents[3] / "shared"
PORTRAITS = SHARED / "real" / "portraits"
YUNET = SHARED / "models" / "face_detection_yunet_2023mar.onnx"
HAIR = SHARED / "models" / "hair_segmenter.tflite"
SIZE = 512
# Where the face is in the square picture, by eye: left, top, right, bottom as shares.
FACES = {
    "woman_512": (0.47, 0.42, 0.58, 0.60),
    "obama": (0.41, 0.09, 0.67, 0.46),
    "obama2": (0.31, 0.35, 0.76, 1.00),
    "biden": (0.44, 0.18, 0.73, 0.58),
}

pytestmark = pytest.mark.skipif(
    not (PORTRAITS.is_dir() and YUNET.is_file() and HAIR.is_file() and mediapipe_installed()),
    reason="no photographs or no models beside the repository",
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of the photographs, hair as a person or MediaPipe outlined it, no face polygons; and what became of it."""
    folder = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch, HairSegmenter(HAIR) as segmenter:
        patch.setenv("DVC_ROOT", str(folder))
        patch.setenv("VISAGE_WORKERS", "1")
        for number, name in enumerate(FACES, start=1):
            image = square(read_image(next(PORTRAITS.glob(f"{name}.*g"))))
            drawn = PORTRAITS / f"{name}_hairmask.png"
            mask = square(read_image(drawn))[..., 0] > 127 if drawn.is_file() else segmenter(image) > 0.5
            fields = {"basestyle": "other men", "natural-curl": "straight"}
            write_sample(
                folder / "raw", "training", f"RP{number:06d}", 1, image, to_rings(mask.astype(np.uint8)), [], fields, {}
            )
        chosen = settings(
            size=SIZE, min_side=SIZE, detector="yunet", detector_file=str(YUNET), patch=64, patch_stride=32, style=224,
            train=0.5, val=0.0, test=0.5,
        )  # fmt: skip
        run(folder, folder / "raw", chosen)
    return folder / "out"


def square(image: np.ndarray) -> np.ndarray:
    """The upper middle square, 512 pixels a side."""
    side = min(image.shape[:2])
    left = (image.shape[1] - side) // 2
    return resize(np.ascontiguousarray(image[:side, left : left + side]), SIZE, SIZE)


def test_faces_are_where_they_are(prepared: Path) -> None:
    for row, (name, expected) in zip(read_metadata(prepared), FACES.items(), strict=True):
        assert (row.face_by, row.face is not None) == ("yunet", True), name
        found, truth = np.array(row.face), np.array(expected) * SIZE
        low, high = np.maximum(found[:2], truth[:2]), np.minimum(found[2:], truth[2:])
        common = np.prod(np.clip(high - low, 0, None))
        union = np.prod(found[2:] - found[:2]) + np.prod(truth[2:] - truth[:2]) - common
        assert common / union > 0.5, (name, (found / SIZE).round(2))


def test_bald_pictures_have_no_strand_left(prepared: Path) -> None:
    """Where the hair was is a smooth surface, and all the rest is the photograph."""
    for row in read_metadata(prepared):
        image, bald = read_image(prepared / row.image), read_image(prepared / row.bald)
        filled = read_image(prepared / row.mask)[..., 0] != 0
        hair = read_rgba(prepared / row.hair_only)[..., 3] != 0
        inner = cv2.erode(hair.astype(np.uint8), np.ones((5, 5), np.uint8)) != 0
        rough = [cv2.Laplacian(picture, cv2.CV_32F)[inner].std() for picture in (image, bald)]
        assert rough[1] < 0.5 * rough[0], (row.id, rough)
        assert np.array_equal(bald[~filled], image[~filled])
        assert row.filled_share > row.hair_share > 0.01


def test_hair_alone_shows_hair_alone(prepared: Path) -> None:
    for row in read_metadata(prepared):
        hair, style = read_rgba(prepared / row.hair_only), read_rgba(prepared / row.style)
        assert not hair[hair[..., 3] == 0].any()
        assert style.shape == (224, 224, 4)
        grown = cv2.dilate(hair[..., 3], np.ones((5, 5), np.uint8)) != 0
        for patch in row.patches:
            assert read_image(prepared / patch).shape == (64, 64, 3)
        assert np.mean(grown) < 0.7
