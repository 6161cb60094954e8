"""Reader of eyes in parquet shards: Conner/openeds-precomputed, Conner/sddec25-01, and those this project draws.

A row with its maps is 3.6 MB and published row groups hold a thousand, so a group is read and decoded a few rows at a
time, by a buffer (a mapped file's pages would count as this process's memory). Lists become arrays by their buffers:
256,000 Python integers would cost more than all else.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visage.errors import BadImageError, DataError
from visage.io.eye_frames import (
    HEIGHT,
    WIDTH,
    EyeFrame,
    Rejected,
    check_not_scrambled,
    check_shape,
    pupil_mask,
    rejected,
    to_bytes,
)

BATCH_ROWS, BUFFER_BYTES = 8, 1 << 20
ELLIPSE = ("cx", "cy", "rx", "ry")
MAPS = ("spatial_weights", "dist_map")
OTHERS = ("filename", "source", "preprocessed")
# RITnet's weight of edge pixels. Those of Conner/sddec25-01 are smoothed and 0.2 at most, which nothing would feel.
LARGEST_WEIGHT = 20.0
SHARD = re.compile(r"(.*)-(\d+)-of-(\d+)\.parquet")
# Conner/openeds-precomputed holds some frames four times, three of them altered.
AUGMENTED = re.compile(r"_(flip|blur|lines)$")
NUMBERED = re.compile(r"(.+)[_-]\d+")


@dataclass(frozen=True)
class Schema:
    """How one file stores its maps.

    columns: those to read. diagonal: distances are stored over it. inner: whether the distance inside the pupil is
    one pixel short (Kervadec's definition).
    """

    columns: Sequence[str]
    diagonal: float
    inner: bool


def read_parquet(root: Path, maps: bool) -> Iterator[EyeFrame | Rejected]:
    """Every row of every *.parquet below `root`, by path and row.

    The source is the column of that name; without one, the folder in `filename`, or `filename` without its last number
    (all of it where there is none), an altered copy (`_flip`, `_blur`, `_lines`) having the original's.

    Args:
        root: a folder; links are followed.
        maps: whether to read spatial_weights and dist_map where they are stored.

    Raises:
        DataError: no files, a shard that is missing, or a file that is no whole parquet file of such a schema.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = sorted(root.rglob("*.parquet"))
    if not paths:
        raise DataError(f"{root}: no .parquet files in it: run synthesize_eyes or visage data fetch first")
    _check_shards(paths)
    for path in paths:
        name = path.relative_to(root).as_posix()
        try:
            file = pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: damaged or no parquet file ({_line(error)}): fetch or draw it again") from None
        with file:
            schema = _schema(path, file.schema_arrow.names, maps)
            row = 0
            for group in range(file.num_row_groups):
                end = row + file.metadata.row_group(group).num_rows
                try:
                    for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(schema.columns)):
                        for index in range(len(batch)):
                            values = {column: batch[column][index] for column in schema.columns}
                            yield _read_row(values, schema, name, row)
                            row += 1
                except (pa.ArrowException, OSError) as error:
                    reason = f"damaged rows ({_line(error)}): fetch or draw the file again"
                    yield from (Rejected(f"{name} row {lost}", reason) for lost in range(row, end))
                row = end


def _check_shards(paths: Sequence[Path]) -> None:
    """Refuse a set of "name-00001-of-00003.parquet" with a gap: an interrupted download or drawing."""
    numbers: dict[tuple[Path, str, str], set[int]] = {}
    for path in paths:
        if match := SHARD.fullmatch(path.name):
            numbers.setdefault((path.parent, match[1], match[3]), set()).add(int(match[2]))
    for (folder, stem, count), present in numbers.items():
        missing = sorted(set(range(int(count))) - present)
        if missing:
            raise DataError(
                f"{folder}/{stem}-*-of-{count}.parquet: shard {missing[0]} is missing: fetch or draw the data again"
            )


def _schema(path: Path, names: Sequence[str], maps: bool) -> Schema:
    for column in ("image", "label"):
        if column not in names:
            raise DataError(
                f"{path}: no column {column!r} (there are {', '.join(names)}): expected the columns of "
                "Conner/openeds-precomputed or Conner/sddec25-01"
            )
    wanted = ("image", "label", *OTHERS, *ELLIPSE, *(MAPS if maps else ()))
    columns = [column for column in wanted if column in names]
    if "preprocessed" in names:
        return Schema(columns, math.hypot(HEIGHT, WIDTH), inner=False)
    return Schema(columns, math.hypot(HEIGHT - 1, WIDTH - 1), inner=True)


def _read_row(values: dict[str, Any], schema: Schema, file: str, row: int) -> EyeFrame | Rejected:
    given = {name: values[name].as_py() for name in (*OTHERS, *ELLIPSE) if name in values}
    filename = given.get("filename")
    # The file and row first: a damaged row's name may be damaged, or be everybody's.
    name = f"{file} row {row}" + (f" ({filename})" if filename else "")
    try:
        image = to_bytes(_array(values["image"], name, "image"), name, "image")
        if not _is_nested(values["image"]):
            check_not_scrambled(image, name)
        label = pupil_mask(to_bytes(_array(values["label"], name, "label"), name, "label"), 1, name)
        weights = _weights(values, name)
        distance = _distance(values, label, schema, name)
    except BadImageError as error:
        return rejected(name, error)
    sample_id = str(filename or f"{file}:{row}")
    source = str(given.get("source") or _source(sample_id))
    numbers = [given.get(column) for column in ELLIPSE]
    ellipse = None
    if all(number is not None and math.isfinite(number) for number in numbers):
        cx, cy, rx, ry = map(float, numbers)  # type: ignore[arg-type]
        ellipse = (cx, cy, rx, ry)
    return EyeFrame(sample_id, source, image, label, weights, distance, ellipse, bool(given.get("preprocessed")))


def _source(filename: str) -> str:
    path = Path(filename)
    if len(path.parts) > 1:
        return path.parent.as_posix()
    stem = AUGMENTED.sub("", path.stem)
    match = NUMBERED.fullmatch(stem)
    return match[1] if match else stem


def _weights(values: dict[str, Any], name: str) -> NDArray[np.float32] | None:
    if "spatial_weights" not in values:
        return None
    weights = _array(values["spatial_weights"], name, "spatial_weights").astype(np.float32, copy=False)
    largest = float(weights.max())
    if not (math.isfinite(largest) and weights.min() >= 0):
        raise BadImageError(f"{name}: spatial_weights below 0 or not finite: fetch the data again")
    return weights if largest in (0, LARGEST_WEIGHT) else weights * np.float32(LARGEST_WEIGHT / largest)


def _distance(
    values: dict[str, Any], label: NDArray[np.uint8], schema: Schema, name: str
) -> NDArray[np.float32] | None:
    """The pupil's channel, the second of two, in pixels; the first is a constant less it."""
    if "dist_map" not in values:
        return None
    pixels = _array(values["dist_map"], name, "dist_map", channels=2)[1] * np.float32(schema.diagonal)
    return pixels - label if schema.inner else pixels


def _array(scalar: Any, name: str, what: str, channels: int = 1) -> NDArray:
    """The numbers of a list scalar, flat or nested, without a copy: 400 x 640, or `channels` x 400 x 640."""
    import pyarrow.compute as pc

    if not scalar.is_valid or not hasattr(scalar, "values"):
        raise BadImageError(f"{name}: {what} is empty or no list: fetch or draw the data again")
    shape = [len(scalar)]
    values = scalar.values
    while hasattr(values, "flatten") and hasattr(values.type, "value_type"):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) != 1 or values.null_count:
            raise BadImageError(f"{name}: {what} has rows of different lengths: fetch or draw the data again")
        shape.append(lengths[0])
        values = values.flatten()
    if len(shape) > 1:
        check_shape(tuple(shape[-2:]), name, (HEIGHT, WIDTH))
    if len(values) != channels * HEIGHT * WIDTH or values.null_count:
        raise BadImageError(
            f"{name}: {what} has {len(values) - values.null_count} numbers: expected {channels * HEIGHT * WIDTH}"
        )
    flat = values.to_numpy(zero_copy_only=False)
    return flat.reshape(HEIGHT, WIDTH) if channels == 1 else flat.reshape(channels, HEIGHT, WIDTH)


def _is_nested(scalar: Any) -> bool:
    return hasattr(scalar.values.type, "value_type")


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
