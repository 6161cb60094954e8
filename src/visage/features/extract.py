"""`extract_features`: every prepared picture through an encoder once, in jobs that may be killed at any moment.

The jobs' results are float32 and belong to the pictures, whatever split they are in; what is written here is
standardised with the training pictures' statistics. A new split or a new seed therefore computes nothing again.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visage.errors import DataError
from visage.export.card import IMAGENET_MEAN, IMAGENET_STD
from visage.features.backends import GRAPH
from visage.features.config import Features
from visage.features.extraction import VECTORS, Extraction
from visage.features.table import ENCODER, FEATURES, INDEX, INDEX_COLUMNS, QUARANTINE, STATISTICS, WEIGHTS
from visage.io.atomic import atomic_path, read_jsonl, sha256_file, write_bytes, write_csv, write_json, write_jsonl
from visage.jobs.plan import Item
from visage.jobs.queue import Results, run_queue
from visage.runtime import Runtime, worker_count
from visage.tracking.tracker import track

MAX_GPU_WORKERS = 3  # each holds a copy of the network, and a few keep one card busy
LEAST_DEVIATION = 1e-2
Rows = list[dict[str, Any]]


def extract(
    settings: Features,
    runtime: Runtime,
    *,
    data: Path,
    pretrained: Path,
    out: Path,
    metrics: Path,
    job_root: Path | None = None,
) -> None:
    """Write the feature table of the pictures in `data`/manifest.jsonl into `out`, and counts into `metrics`.

    pretrained: the folder of pretrain_encoder. job_root: of the job stores, None for the repository's. Beside what
    `visage.features.table` reads, `out` gets the encoder's weights (timm's names) and quarantine.jsonl (path, reason).

    Raises:
        VisageError: settings that this machine cannot honour, weights that are missing, too many bad pictures.
        Unfinished: the time limit came first.
    """
    rows = read_rows(data)
    work = prepare_work(settings, runtime, pretrained, out)
    items = [Item(row["sha256"], str((data / row["path"]).absolute())) for row in rows]
    workers = worker_count() if runtime.device == "cpu" else min(worker_count(), MAX_GPU_WORKERS)
    with track(work.name, params={"features": settings, "runtime": runtime.results()}) as tracker:
        done = run_queue(
            work,
            items,
            settings.images_per_job,
            root=job_root,
            workers=workers,
            max_minutes=runtime.max_minutes,
            use=lambda results: write_table(results, rows, settings, work.weights_sha256, out, metrics),
        )
        (out / GRAPH).unlink(missing_ok=True)  # it only repeats the weights
        tracker.summary({"jobs": len(done.plan.jobs), "resumed_jobs": done.resumed, "seconds_of_jobs": done.seconds})
    print(
        f"features: {len(rows)} pictures by {settings.encoder} ({settings.backend}, {settings.precision}), "
        f"{done.computed} jobs computed and {done.resumed} found, {done.seconds:.1f} s"
    )


def read_rows(data: Path) -> Rows:
    """The manifest's rows.

    Raises:
        DataError: prepare_faces has not run, or found nothing.
    """
    manifest = data / "manifest.jsonl"
    if not manifest.is_file():
        raise DataError(f"{manifest} is not there: run prepare_faces first (dvc repro prepare_faces)")
    rows = read_jsonl(manifest)
    if not rows:
        raise DataError(f"{manifest} names no pictures: look at faces.data")
    return rows


def prepare_work(settings: Features, runtime: Runtime, pretrained: Path, out: Path) -> Extraction:
    """Write the encoder that `settings` ask for into `out`, and describe the work with it.

    Raises:
        VisageError: there are no such weights, or this machine cannot run them so.
    """
    from safetensors.torch import save

    from visage.features.backends import check_backend, prepare_backend
    from visage.features.timm_encoders import build_encoder, encoder_state, feature_width

    check_backend(settings, runtime.device)
    state = encoder_state(settings, pretrained)
    dim = feature_width(build_encoder(settings.encoder, settings.global_pool), settings.size)
    write_bytes(out / WEIGHTS, save({name: state[name].contiguous() for name in sorted(state)}))
    digest = sha256_file(out / WEIGHTS)
    described = {"encoder": settings.encoder, "global_pool": settings.global_pool, "dim": dim, "size": settings.size}
    described |= {"backend": settings.backend, "precision": settings.precision, "weights": settings.weights}
    write_json(out / ENCODER, {**described, "sha256": digest, "mean": IMAGENET_MEAN, "std": IMAGENET_STD})
    prepare_backend(settings, out)
    return Extraction(settings, out.absolute(), digest, runtime.device)


def write_table(
    results: Results, rows: Rows, settings: Features, weights_sha256: str, out: Path, metrics: Path
) -> None:
    """Put the jobs' results together in the manifest's order.

    Raises:
        DataError: too many pictures are bad; quarantine.jsonl is in `out` then.
    """
    errors = [error for _, outcome in results.read() for error in outcome.errors]
    bad = [{"path": row["path"], "reason": error} for row, error in zip(rows, errors, strict=True) if error]
    write_jsonl(out / QUARANTINE, bad)
    if len(bad) > settings.max_bad_fraction * len(rows):
        raise DataError(
            f"{len(bad)} of {len(rows)} pictures are bad (first: {bad[0]['path']}: {bad[0]['reason']}; all are in "
            f"{out / QUARANTINE}): repair them, or raise features.max_bad_fraction ({settings.max_bad_fraction})"
        )
    good = np.array([not error for error in errors])
    kept = [row for row, error in zip(rows, errors, strict=True) if not error]
    if not kept:
        raise DataError(f"no readable picture (all are in {out / QUARANTINE}): repair them")
    training = good & np.array([row["split"] == "train" for row in rows])
    mean, std = statistics(results, training if training.any() else good)
    write_features(results, good, mean, std, out)
    with atomic_path(out / STATISTICS) as tmp, open(tmp, "wb") as file:
        np.savez(file, mean=mean, std=std)
    index = ({**row, "row": number} for number, row in enumerate(kept))
    write_csv(out / INDEX, ({name: row[name] for name in INDEX_COLUMNS} for row in index), INDEX_COLUMNS)
    splits = Counter(row["split"] for row in kept)
    counts = {"pictures": dict(sorted(splits.items())), "quarantined": len(bad), "jobs": len(results.plan.jobs)}
    made = {"encoder": settings.encoder, "dim": len(mean), "weights_sha256": weights_sha256[:16]}
    write_json(metrics, counts | made)


def statistics(results: Results, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (D float32) of the vectors where `chosen` (N bool) is true.

    A feature that varies by less than `LEAST_DEVIATION` of the features' root mean square is given that deviation: what
    it varies by is rounding, which would be blown up. Blocks are joined by the pairwise formula of Chan, Golub and
    LeVeque (1979), which does not cancel.
    """
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for job, outcome in results.read():
        block = outcome.arrays[VECTORS][chosen[job.first : job.first + len(job.items)]].astype(np.float64)
        if not len(block):
            continue
        total, shift = count + len(block), block.mean(0) - mean
        squares = squares + ((block - block.mean(0)) ** 2).sum(0) + shift**2 * (count * len(block) / total)
        mean, count = mean + shift * (len(block) / total), total
    variance = squares / count
    least = LEAST_DEVIATION * np.sqrt((mean**2 + variance).mean()) or 1.0
    return mean.astype(np.float32), np.maximum(np.sqrt(variance), least).astype(np.float32)


def write_features(
    results: Results, good: Sequence[bool] | np.ndarray, mean: np.ndarray, std: np.ndarray, out: Path
) -> None:
    """The good vectors, standardised, as one float16 array that can be memory-mapped."""
    limit = np.finfo(np.float16).max
    with atomic_path(out / FEATURES) as tmp:
        array = np.lib.format.open_memmap(tmp, "w+", np.float16, (int(np.sum(good)), len(mean)))
        row = 0
        for job, outcome in results.read():
            block = outcome.arrays[VECTORS][good[job.first : job.first + len(job.items)]]
            array[row : row + len(block)] = ((block - mean) / std).clip(-limit, limit)
            row += len(block)
        array.flush()
        del array
