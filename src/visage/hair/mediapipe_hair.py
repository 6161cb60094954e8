"""MediaPipe's ImageSegmenter as a function: a picture in, the confidence that each pixel is hair out.

Any segmenter is taken whose labels name hair, not one file alone: the published hair model, a copy with metadata of
its own, the model of several classes. Which one it was is in the stage's metrics, by its checksum.
"""

import importlib.util
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from visage.errors import ConfigError, DataError, MissingWeightsError

HAIR = "hair"
MISSING_PACKAGE = (
    "MediaPipe is not installed: pip install --no-deps mediapipe absl-py flatbuffers (--no-deps: it would bring a "
    "second OpenCV), or use zero_shot.method=grabcut"
)


def mediapipe_installed() -> bool:
    """Whether the package is there; it is not imported, which takes a second."""
    return importlib.util.find_spec("mediapipe") is not None


class HairSegmenter:
    """A segmenter of MediaPipe, opened once. label: its name for hair, one of `labels`.

    Use it in a `with` statement, or let go of it before the interpreter ends: MediaPipe cannot close one after that.

    Raises:
        ConfigError: the package is not installed.
        MissingWeightsError: there is no such file.
        DataError: MediaPipe cannot load the file, or none of its labels says hair.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MissingWeightsError(
                f"{path} is not there: visage models fetch hair_segmenter, or set zero_shot.model_file to where it is"
            )
        if not mediapipe_installed():
            raise ConfigError(MISSING_PACKAGE)
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision

        self._mediapipe = mediapipe
        options = vision.ImageSegmenterOptions(
            # As bytes: a path is resolved by MediaPipe's own rules.
            base_options=BaseOptions(model_asset_buffer=path.read_bytes()),
            output_category_mask=False,
            output_confidence_masks=True,
        )
        try:
            self._segmenter = vision.ImageSegmenter.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            cause = str(error).strip().splitlines()[0][:120]
            raise DataError(
                f"{path}: MediaPipe cannot load it ({cause}): give an image segmenter with metadata, such as visage "
                "models fetch hair_segmenter brings"
            ) from None
        self.labels = tuple(self._segmenter.labels)
        found = [index for index, label in enumerate(self.labels) if HAIR in label.lower()]
        if not found:
            raise DataError(f"{path}: none of its labels ({', '.join(self.labels)}) says hair: give a hair segmenter")
        self._index = found[0]
        self.label = self.labels[self._index]

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Confidence of hair, H x W float32 of 0 to 1, for H x W x 3 uint8 RGB of any size; the same bits each time."""
        picture = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        masks = self._segmenter.segment(picture).confidence_masks
        # The view is MediaPipe's memory, with or without an axis of length 1 by version.
        return np.array(masks[self._index].numpy_view(), np.float32).reshape(image.shape[:2])

    def close(self) -> None:
        """Give its memory and its thread back; a second call does nothing."""
        self._segmenter.close()

    def __enter__(self) -> "HairSegmenter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
