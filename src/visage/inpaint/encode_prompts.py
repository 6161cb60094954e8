"""`encode_prompts`: every distinct prompt through the text encoders once, and the cache that training reads instead.

The encoders run in a worker process and are gone with it before anything is trained.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from visage.inpaint.diffusion_config import Prompts
from visage.inpaint.prompt_cache import CACHE, EMPTY, PROMPTS, RECORD
from visage.inpaint.prompt_work import LENGTH, POOLED, TOKENS, PromptWork, prompt_item
from visage.inpaint.record import read_metadata
from visage.io.atomic import sweep, write_bytes, write_json
from visage.jobs.queue import Results, run_queue
from visage.runtime import Runtime, worker_count
from visage.tracking.tracker import track

FOLDER = "encoders"
WORKER_GB = 4.0  # SDXL's two encoders in float32, with what they compute


def encode_prompts(settings: Prompts, runtime: Runtime, *, data: Path, out: Path, metrics: Path) -> None:
    """Encode the prompts of the prepared set in `data`, and the empty one.

    `out` gets what `read_prompts` and `open_encoders` read: the cache, a record of the encoders and, of source "new",
    the encoders themselves. `metrics` is the JSON file for counts.

    Raises:
        VisageError: the data, a setting or the weights cannot be used.
        Unfinished: the time limit came first; the same call continues.
    """
    from visage.features.encoders import check_watched
    from visage.inpaint.text_encoders import checksums, find_weights, known_words

    settings.check()
    if settings.source == "file":
        check_watched(settings.path, "prompts.path")
    weights = find_weights(settings.source, settings.path)
    sums = {} if weights is None else checksums(weights)
    place = None if weights is None else weights.absolute()
    work = PromptWork(settings, place, sums, known_words() if weights is None else (), runtime.device)
    rows = read_metadata(data)
    prompts = sorted({EMPTY, *(row.text_prompt for row in rows)})
    # A worker of "new" takes longer to start than to encode; the others take memory, and a card is one.
    alone = settings.source == "new" or runtime.device == "cuda"
    workers = 1 if alone else min(worker_count(), max(1, int(runtime.memory_gb // WORKER_GB)))
    shutil.rmtree(out / FOLDER, ignore_errors=True)
    for name in (CACHE, RECORD):
        (out / name).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    sweep(out)  # what a run left that was killed while it wrote
    with track(work.name, params={"prompts": settings, "runtime": runtime.results()}):
        done = run_queue(
            work,
            [prompt_item(prompt) for prompt in prompts],
            settings.prompts_per_job,
            workers=workers,
            max_minutes=runtime.max_minutes,
            use=lambda results: _assemble(results, prompts, settings, len(rows), out, metrics),
        )
    _keep_encoders(settings, sums, out)
    print(
        f"prompts: {len(prompts) - 1} distinct ones of {len(rows)} pictures, and the empty one, in {done.seconds:.1f} s"
    )


def _assemble(results: Results, prompts: Sequence[str], settings: Prompts, rows: int, out: Path, metrics: Path) -> None:
    """Write the cache and the metrics."""
    from safetensors.numpy import save

    # One kind at a time: the tokens of a real set are a gigabyte.
    tokens, pooled, lengths = (
        np.concatenate([outcome.arrays[name] for _, outcome in results.read()]) for name in (TOKENS, POOLED, LENGTH)
    )
    header = {PROMPTS: json.dumps(prompts, ensure_ascii=False)}
    write_bytes(out / CACHE, save({TOKENS: tokens, POOLED: pooled}, metadata=header))
    _, length, width = tokens.shape
    write_json(
        metrics,
        {
            "rows": rows,
            "distinct_prompts": len(prompts) - 1,
            "width": width,
            "pooled_width": pooled.shape[1],
            "longest_tokens": int(lengths.max()),
            "truncated_prompts": int((lengths > length).sum()),
            "source": "new: random" if settings.source == "new" else f"{settings.source}: {settings.path}",
        },
    )


def _keep_encoders(settings: Prompts, sums: Mapping[str, str], out: Path) -> None:
    """Write what finds the encoders again; the small ones themselves, which later libraries might draw otherwise."""
    from visage.inpaint.text_encoders import checksums, new_text_encoders

    path = settings.path
    if settings.source == "new":
        new_text_encoders(settings).save(out / FOLDER)
        path, sums = FOLDER, checksums(out / FOLDER)
    write_json(out / RECORD, {"source": settings.source, "path": path, "sha256": sums})
