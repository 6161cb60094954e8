"""Published model files, brought once, checked, and never part of the project.

What is fetched is pinned by its checksum, so a file of that name at that address is either the one everybody has or is
refused. An interrupted transfer leaves a .part file, and the next one goes on from its end.
"""

import http.client
import os
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from visage.errors import DataError
from visage.io.atomic import atomic_path, sha256_file

MODELS_DIR = Path("data/raw/models")
TIMEOUT, CHUNK = 30.0, 1 << 16  # seconds without a byte; bytes
PARTIAL_CONTENT, RANGE_REFUSED = 206, 416


@dataclass(frozen=True)
class Published:
    """A model file: its name, where it is published, its checksum, and its licence."""

    file: str
    url: str
    sha256: str
    licence: str


MODELS = {
    "hair_segmenter": Published(
        "hair_segmenter.tflite",
        "https://storage.googleapis.com/mediapipe-models/image_segmenter/hair_segmenter/float32/1/hair_segmenter.tflite",
        "2628cf3ce5f695f604cbea2841e00befcaa3624bf80caf3664bef2656d59bf84",
        "Apache-2.0",
    ),
    "yunet": Published(
        "face_detection_yunet_2023mar.onnx",
        "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/"
        "face_detection_yunet_2023mar.onnx",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        "MIT",
    ),
}


def fetch_model(name: str, folder: Path = MODELS_DIR, *, source: Path | None = None) -> Path:
    """Bring model `name` into `folder`, where it is not there yet.

    Args:
        name: one of `MODELS`.
        folder: made where it is missing.
        source: a copy made elsewhere, taken in place of the published file after the same check.

    Returns:
        The file, whose checksum is the pinned one.

    Raises:
        DataError: unknown name, no network, a broken transfer (what came is kept), a wrong checksum, or another file
            lies where this one belongs.
    """
    if name not in MODELS:
        raise DataError(f"no model {name!r}: choose one of {', '.join(MODELS)}")
    model = MODELS[name]
    target = folder / model.file
    if target.is_file():
        if sha256_file(target) == model.sha256:
            print(f"{target} is there already")
            return target
        raise DataError(f"{target} is there and is not the published file: move it away first")
    if source is not None:
        _check(source, model)
        with atomic_path(target) as tmp:
            shutil.copyfile(source, tmp)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    print(f"{name}: downloading to {target} ({model.licence})")
    try:
        _download(model.url, part)
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        raise DataError(
            f"{name}: {model.url} cannot be downloaded ({str(cause) or type(error).__name__}; no network?): run this "
            "again, it goes on from where it was, or bring the file and give it with --from PATH"
        ) from None
    try:
        _check(part, model)
    except DataError:
        part.unlink()  # going on from it would never end well
        raise
    os.replace(part, target)
    return target


def _check(path: Path, model: Published) -> None:
    """Raises: DataError: the file is not there, or is not the published one."""
    if not path.is_file():
        raise DataError(f"{path} is not there: give the path of a copy of {model.file}")
    found = sha256_file(path)
    if found != model.sha256:
        raise DataError(
            f"{path} has SHA-256 {found[:12]}..., the published {model.file} has {model.sha256[:12]}...: fetch it "
            f"again from {model.url}, or name a file of your own in the setting that uses it"
        )


def _download(url: str, part: Path) -> None:
    """Append to `part` what it lacks of `url`; a server that cannot go on from there sends it all again."""
    have = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == RANGE_REFUSED:  # nothing is left to send
            return
        raise
    with answer, open(part, "ab" if answer.status == PARTIAL_CONTENT else "wb") as file:
        expected = answer.headers.get("Content-Length")
        before = file.tell()
        while block := answer.read(CHUNK):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        if expected is not None and file.tell() - before != int(expected):
            raise OSError("the connection broke off")
