"""`extract_patches`: every picture's patches through the frozen encoder once, in jobs that may be killed at any moment.

Patches are cut from the originals and not from the prepared squares: what is small in a large picture keeps its pixels.
The prepared index says which originals there are, how large, and which split each is in.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError
from visage.hair.config import Patches
from visage.hair.patch_extraction import MAPS, PatchExtraction, patch_item
from visage.hair.patch_manifest import COLUMNS, FEATURES, MANIFEST, META, QUARANTINE, STATISTICS
from visage.hair.prepared import load_set
from visage.io.atomic import atomic_path, sha256_file, write_csv, write_json, write_jsonl
from visage.io.growing import GrowingArray
from visage.jobs.plan import Item
from visage.jobs.queue import Results, run_queue
from visage.runtime import Runtime, worker_count
from visage.tracking.tracker import track
from visage.vision.patches import grid

if TYPE_CHECKING:
    from visage.hair.patch_encoder import MapEncoder, MapShape

MAX_GPU_WORKERS = 3  # each holds a copy of the network, and a few keep one card busy
MAX_BAD_FRACTION = 0.05  # prepare_hair has read every picture: more than a few that cannot be read now are no accident
LEAST_DEVIATION = 1e-2
Rows = list[dict[str, Any]]


def extract_patches(
    settings: Patches,
    runtime: Runtime,
    *,
    data: Path,
    root: Path,
    pretrained: Path,
    out: Path,
    metrics: Path,
    job_root: Path | None = None,
) -> None:
    """Write the patches of all prepared pictures (see `visage.hair.patch_manifest`) into `out`, counts into `metrics`.

    data: what prepare_hair wrote. root: the folder that the originals' names are relative to. pretrained: a folder
    with an encoder, such as train_hair_segmenter's. job_root: of the job stores, None for the repository's.

    Raises:
        DataError: pictures or weights are missing, or too many pictures cannot be read.
        Unfinished: the time limit came first.
    """
    from visage.hair.patch_encoder import WEIGHTS, open_encoder

    rows, items = plan_patches(load_set(data).rows, root, settings)
    encoder = open_encoder(pretrained)
    work = PatchExtraction(settings, pretrained.absolute(), sha256_file(pretrained / WEIGHTS), runtime.device)
    workers = worker_count() if runtime.device == "cpu" else min(worker_count(), MAX_GPU_WORKERS)
    with track(work.name, params={"patches": settings, "runtime": runtime.results()}) as tracker:
        done = run_queue(
            work,
            items,
            settings.patches_per_job,
            root=job_root,
            workers=workers,
            max_minutes=runtime.max_minutes,
            use=lambda results: write_patches(results, rows, work, encoder, pretrained, out, metrics),
        )
        tracker.summary({"jobs": len(done.plan.jobs), "resumed_jobs": done.resumed, "seconds_of_jobs": done.seconds})
    print(
        f"patches: {len(rows)} of {settings.size} px, {done.computed} jobs computed and {done.resumed} found, "
        f"{done.seconds:.1f} s"
    )


def plan_patches(pictures: Sequence[Mapping[str, str]], root: Path, settings: Patches) -> tuple[Rows, list[Item]]:
    """The manifest's rows, still without `row`, and the items of all patches of the prepared `pictures`, in order.

    Raises:
        DataError: an original is not there.
    """
    rows: Rows = []
    items: list[Item] = []
    for picture in pictures:
        path = root / picture["file"]
        if not path.is_file():
            raise DataError(f"{path} is not there: prepare the pictures again (dvc repro prepare_hair)")
        digest = sha256_file(path)
        height, width = int(picture["file_height"]), int(picture["file_width"])
        for box in grid(height, width, settings.size, settings.overlap):
            facts = {key: picture[key] for key in ("sample_id", "source", "split")}
            patch_id = f"{picture['sample_id']}@{box.x0},{box.y0}"
            named = {"patch_id": patch_id, "parent_image": picture["file"], "features_path": FEATURES}
            rows.append(named | facts | box._asdict())
            items.append(patch_item(digest, path.absolute(), box))
    return rows, items


def write_patches(
    results: Results,
    rows: Rows,
    work: PatchExtraction,
    encoder: "MapEncoder",
    pretrained: Path,
    out: Path,
    metrics: Path,
) -> None:
    """Put the jobs' results together in the order of `rows`.

    Raises:
        DataError: too many patches could not be made; quarantine.jsonl is in `out` then.
    """
    import json

    from visage.hair.patch_encoder import DESCRIPTION

    size = work.settings.size
    training = np.array([row["split"] == "train" for row in rows])
    gathered = ChannelStatistics(encoder.shapes, size)
    bad: Rows = []
    kept: Rows = []
    with (
        atomic_path(out / FEATURES) as tmp,
        GrowingArray(tmp, (sum(shape.values(size) for shape in encoder.shapes),), np.float16) as array,
    ):
        for job, outcome in results.read():
            good = np.array([not error for error in outcome.errors])
            members = slice(job.first, job.first + len(job.items))
            for row, error, maps in zip(rows[members], outcome.errors, outcome.arrays[MAPS], strict=True):
                if error:
                    bad.append({"patch_id": row["patch_id"], "path": row["parent_image"], "reason": error})
                else:
                    kept.append({**row, "row": len(kept)})
                    array.append(maps)
            gathered.add(outcome.arrays[MAPS][good & (training[members] if training.any() else True)])
    write_jsonl(out / QUARANTINE, bad)
    if len(bad) > MAX_BAD_FRACTION * len(rows):
        raise DataError(
            f"{len(bad)} of {len(rows)} patches cannot be made (first: {bad[0]['path']}: {bad[0]['reason']}; all are "
            f"in {out / QUARANTINE}): prepare the pictures again (dvc repro prepare_hair)"
        )
    mean, std = gathered.result()
    with atomic_path(out / STATISTICS) as tmp, open(tmp, "wb") as file:
        np.savez(file, mean=mean, std=std)
    arch = json.loads((pretrained / DESCRIPTION).read_text(encoding="utf-8"))["arch"]
    maps = [{"stride": shape.stride, "channels": shape.channels} for shape in encoder.shapes]
    made = {"arch": arch, "weights_sha256": work.weights_sha256, "size": size, "overlap": work.settings.overlap}
    write_json(out / META, {**made, "maps": maps})
    write_csv(out / MANIFEST, ({name: row[name] for name in COLUMNS} for row in kept), COLUMNS)
    counts = {"patches": dict(sorted(Counter(row["split"] for row in kept).items())), "quarantined": len(bad)}
    counts |= {"pictures": len({row["sample_id"] for row in kept}), "jobs": len(results.plan.jobs)}
    values = sum(shape.values(size) for shape in encoder.shapes)
    sizes = {"bytes_per_patch": 2 * values, "weights_sha256": work.weights_sha256[:16]}
    write_json(metrics, {**counts, "arch": arch, **sizes})


class ChannelStatistics:
    """Mean and deviation of every channel of the maps over patches and places, in one pass.

    Blocks are joined by the pairwise formula of Chan, Golub and LeVeque (1979), which does not cancel.
    """

    def __init__(self, shapes: "Sequence[MapShape]", size: int) -> None:
        self.shapes, self.size, self.count = shapes, size, 0
        channels = sum(shape.channels for shape in shapes)
        self.mean, self.squares = np.zeros(channels), np.zeros(channels)

    def add(self, maps: NDArray[np.float16]) -> None:
        """Take n patches, n x K."""
        if not len(maps):
            return
        ends = np.cumsum([shape.values(self.size) for shape in self.shapes])
        means, spreads = [], []
        for part, shape in zip(np.split(maps, ends[:-1], axis=1), self.shapes, strict=True):
            block = part.reshape(len(maps), shape.channels, -1).astype(np.float32)
            mean = block.mean((0, 2), dtype=np.float64)
            means.append(mean)
            spreads.append(block.var((0, 2), dtype=np.float64))
        # A channel's places differ in number between the maps and not between patches: patches are what is counted.
        total, shift = self.count + len(maps), np.concatenate(means) - self.mean
        self.squares += np.concatenate(spreads) * len(maps) + shift**2 * (self.count * len(maps) / total)
        self.mean += shift * (len(maps) / total)
        self.count = total

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation, the latter at least `LEAST_DEVIATION` of the channels' root mean square.

        Raises:
            DataError: there was no patch.
        """
        if not self.count:
            raise DataError("no patch of the training pictures could be made: give hair.prepare.train a larger share")
        variance = self.squares / self.count
        least = LEAST_DEVIATION * np.sqrt((self.mean**2 + variance).mean()) or 1.0
        return self.mean.astype(np.float32), np.maximum(np.sqrt(variance), least).astype(np.float32)
