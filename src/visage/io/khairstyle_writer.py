"""Writer of the K-Hairstyle layout: a picture with its label, where the reader of any copy looks for them.

It knows nothing of the reader but the polygons and the words, so that a change in reading redraws no data set.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visage.io.images import encode_jpeg
from visage.io.khairstyle_rings import FACE, HAIR, Ring
from visage.io.khairstyle_vocabulary import VOCABULARY, style_folder, to_korean

JPEG_QUALITY = 95


def write_sample(
    root: Path,
    folder: str,
    source: str,
    view: int,
    image: NDArray[np.uint8],
    hair: list[Ring],
    face: list[Ring],
    fields: Mapping[str, str],
    others: Mapping[str, object],
) -> str:
    """Write a picture and its label into <folder>/{images,labels}/<basestyle>/<source>/.

    Args:
        root: of the data set.
        folder: "training" or "validation".
        source: letters and digits, as "CP032677".
        view: its number within the source.
        image: S x S x 3 uint8, RGB.
        hair: polygons of the crop.
        face: likewise.
        fields: English words of `VOCABULARY`, with a basestyle.
        others: of the label, as they are.

    Returns:
        The picture's path, relative to `root`.
    """
    korean = {field: to_korean(field, word) for field, word in fields.items()}
    # The number before a source counts people; here it is that of the source itself.
    place = f"{style_folder(korean['basestyle'])}/{int(source[-6:]) % 10_000:04d}.{source}"
    picture = f"{folder}/images/{place}/{source}-{view:03d}.jpg"
    label = f"{folder}/labels/{place}/{source}_{view:03d}.json"
    record = {
        "id": f"{source}-{view:03d}",
        "source": source,
        "filename": f"{source}-{view:03d}.jpg",
        "path": picture,
        **{field: korean.get(field) for field in VOCABULARY},
        **others,
        HAIR: _json(hair),
        FACE: _json(face),
    }
    content = json.dumps(record, ensure_ascii=False).encode()
    for path, data in ((picture, encode_jpeg(image, JPEG_QUALITY)), (label, content)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return picture


def _json(rings: list[Ring]) -> str:
    return json.dumps([[{"x": x, "y": y} for x, y in ring.tolist()] for ring in rings])
