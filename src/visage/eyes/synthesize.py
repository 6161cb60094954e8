"""The embedded eyes: drawn subjects in parquet shards, in the columns of Conner/openeds-precomputed and a few more.

Its maps are left out: they can be computed from the label, faster than read. A shard's bytes depend on the settings
and the seed alone, so row groups are of fixed size and no column of pandas, time or machine is stored.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visage.errors import ConfigError
from visage.eyes.config import SynthesizeEyes
from visage.eyes.maps import normalised
from visage.io.atomic import atomic_path
from visage.synthetic.nir_batch import EyeSpec, draw_eyes
from visage.synthetic.nir_eye import PUPIL, Eye

if TYPE_CHECKING:
    import pyarrow as pa

FRAMES_OF_SHARD, FRAMES_OF_GROUP = 256, 16
VISIBLE = ("cx", "cy", "rx", "ry")
WHOLE = ("full_cx", "full_cy", "full_a", "full_b", "full_angle")


def synthesize(settings: SynthesizeEyes, *, seed: int, out: Path) -> None:
    """Draw subjects 0 to `subjects` - 1 of population `seed`; the same bytes for any number of worker processes.

    Args:
        settings: how many subjects, and frames of each.
        seed: of the population.
        out: gets data-00000-of-000NN.parquet, a row for each frame: image, classes (0 background, 1 sclera, 2 iris,
            3 pupil) and label (1 pupil) as flat lists of 400 x 640 uint8; filename; source, the subject; cx, cy, rx,
            ry float32, the visible pupil's ellipse normalised as `visage.eyes.prepared` says, null for a blink;
            full_cx, full_cy, full_a, full_b in pixels and full_angle in radians, the whole pupil's ellipse, which lids
            may cover. What an earlier run left there is removed.

    Raises:
        ConfigError: a number is below 1.
    """
    import pyarrow.parquet as pq

    for name in ("subjects", "frames"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"eyes.synthesize.{name} is {getattr(settings, name)}: use at least 1")
    for old in out.glob("*.parquet"):
        old.unlink()
    specs = [EyeSpec(seed, subject, frame) for subject in range(settings.subjects) for frame in range(settings.frames)]
    pairs = zip(specs, draw_eyes(specs), strict=True)
    shards = -(-len(specs) // FRAMES_OF_SHARD)
    schema = _schema()
    for shard in range(shards):
        drawn = islice(pairs, FRAMES_OF_SHARD)
        with (
            atomic_path(out / f"data-{shard:05d}-of-{shards:05d}.parquet") as tmp,
            pq.ParquetWriter(tmp, schema, compression="zstd", store_schema=False, write_page_checksum=True) as writer,
        ):
            while group := list(islice(drawn, FRAMES_OF_GROUP)):
                writer.write_table(_table(group, schema), row_group_size=FRAMES_OF_GROUP)
    print(f"synthesize_eyes: {settings.subjects} subjects, {len(specs)} frames in {out}")


def _schema() -> "pa.Schema":
    import pyarrow as pa

    pixels = pa.list_(pa.field("element", pa.uint8(), nullable=False))
    return pa.schema(
        [
            *(pa.field(name, pixels, nullable=False) for name in ("image", "label", "classes")),
            *(pa.field(name, pa.string(), nullable=False) for name in ("filename", "source")),
            *(pa.field(name, pa.float32()) for name in (*VISIBLE, *WHOLE)),
        ]
    )


def _table(group: Sequence[tuple[EyeSpec, Eye]], schema: "pa.Schema") -> "pa.Table":
    import pyarrow as pa

    specs, eyes = zip(*group, strict=True)
    sources = [f"subject_{spec.subject:03d}" for spec in specs]
    visible = [eye.visible and normalised(eye.visible, eye.label.shape) for eye in eyes]
    columns = {
        "image": _pixels(eye.image for eye in eyes),
        "label": _pixels((eye.label == PUPIL).astype(np.uint8) for eye in eyes),
        "classes": _pixels(eye.label for eye in eyes),
        "filename": [f"{source}/{spec.frame:03d}.png" for source, spec in zip(sources, specs, strict=True)],
        "source": sources,
    }
    columns |= {name: [numbers and numbers[index] for numbers in visible] for index, name in enumerate(VISIBLE)}
    columns |= {name: [getattr(eye.pupil, name.removeprefix("full_")) for eye in eyes] for name in WHOLE}
    arrays = [pa.array(columns[field.name], field.type) if isinstance(columns[field.name], list)
              else columns[field.name].cast(field.type) for field in schema]  # fmt: skip
    return pa.Table.from_arrays(arrays, schema=schema)


def _pixels(pictures: Iterator[np.ndarray]) -> "pa.ListArray":
    """A list of bytes for each picture, made of one buffer: no Python number for a pixel."""
    import pyarrow as pa

    flat = [picture.reshape(-1) for picture in pictures]
    offsets = np.concatenate([[0], np.cumsum([len(values) for values in flat])]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, np.concatenate(flat))
