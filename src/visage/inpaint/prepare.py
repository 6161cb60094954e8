"""`prepare_inpaint`: every original of a K-Hairstyle tree as what the inpainting network is trained on.

The originals go through the job store, so a killed run goes on where it was; splits, prompts, labels and the cap on a
source's patches are decided when the packs are put together, and changing them computes no picture again.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from visage.errors import BadImageError, DataError, MissingWeightsError
from visage.features.table import WEIGHTS
from visage.inpaint.config import InpaintData, PrepareInpaint
from visage.inpaint.identity import ALIGNED
from visage.inpaint.originals import NO_HAIR, Original, list_originals, shared_out
from visage.inpaint.prepare_sheet import write_samples
from visage.inpaint.prepare_summary import summary
from visage.inpaint.prepare_work import COUNT, FACTS, PACK, PrepareWork, original_item, unpack
from visage.inpaint.prompt import CURLS, VOLUMES, labels, prompt
from visage.inpaint.record import (
    BALD,
    FOLDERS,
    HAIR,
    IDENTITY,
    IMAGES,
    MASKS,
    META,
    METADATA,
    PATCHES,
    QUARANTINE,
    STYLE,
    Row,
    stored_row,
)
from visage.io.atomic import sha256_file, sweep, write_bytes, write_json, write_jsonl
from visage.io.eye_frames import Rejected
from visage.io.hair_frames import UNPAIRED
from visage.io.intake import check_splits, check_usable
from visage.io.khairstyle import SOURCE
from visage.io.splits import split_groups
from visage.jobs.queue import Results, run_queue
from visage.runtime import Runtime, worker_count
from visage.tracking.tracker import track

MAX_WORKERS = 8


def prepare(
    data: InpaintData,
    settings: PrepareInpaint,
    runtime: Runtime,
    *,
    seed: int,
    encoder: Path,
    out: Path,
    metrics: Path,
    plots: Path,
) -> dict[str, Any]:
    """Prepare one tree; killed at any moment, the same call goes on and ends with the same bytes.

    Args:
        data: where the originals are.
        settings: of the stage.
        runtime: its time limit counts.
        seed: of the splits.
        encoder: the folder of pretrain_encoder, for embedder "encoder".
        out: gets the folders of `visage.inpaint.record`, `metadata.jsonl` (written last), `meta.json` and
            `quarantine.jsonl` (sample_id, reason).
        metrics: the JSON file for the returned numbers.
        plots: gets `samples.png`.

    Returns:
        Counts of pictures and sources by split, of labels, faces, identities and patches; coverage of the vocabulary;
        what is quarantined.

    Raises:
        VisageError: the data, a setting or a weights file cannot be used.
        Unfinished: the time limit came first.
    """
    settings.check()
    fractions = {"train": settings.train, "val": settings.val, "test": settings.test}
    split_groups([], fractions, seed)  # checks the fractions
    root = Path(data.root)
    if not root.is_dir():
        raise DataError(f"inpaint.data.root={data.root}: no such folder: draw, fetch or link the data there first")
    originals, bad = list_originals(root)
    weights = needed_weights(settings, any(not original.faced for original in originals), encoder)
    work = PrepareWork(settings, root.absolute(), weights, encoder.absolute())
    items, usable = [], []
    for original in originals:
        try:
            items.append(original_item(root, original.picture, original.label))
            usable.append(original)
        except BadImageError as error:
            bad.append(Rejected(original.picture, str(error).removeprefix(f"{original.picture}: ")))
    result: dict[str, Any] = {}
    for folder in FOLDERS:
        shutil.rmtree(out / folder, ignore_errors=True)
    for name in (METADATA, META, QUARANTINE):
        (out / name).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    for place in (out, plots):
        sweep(place)  # what a run left that was killed while it wrote

    def assemble(results: Results) -> None:
        result.update(_assemble(results, usable, bad, data, settings, fractions, seed, out, plots))

    if not items:
        write_quarantine(out, bad)
        check_usable(0, [], bad, settings.max_bad_fraction, "inpaint.prepare", "original", out / QUARANTINE)
    with track(work.name, params={"inpaint.prepare": settings, "runtime": runtime.results()}):
        run_queue(
            work,
            items,
            settings.images_per_job,
            workers=min(worker_count(), MAX_WORKERS),
            max_minutes=runtime.max_minutes,
            use=assemble,
        )
    write_json(metrics, result)
    counts = ", ".join(f"{name} {number}" for name, number in result["pictures"].items())
    print(
        f"prepare_inpaint: {counts} pictures of {settings.size} px, {sum(result['sources'].values())} sources; "
        f"{result['patches']['total']} patches; {result['quarantined']['total']} quarantined"
    )
    return result


def needed_weights(settings: PrepareInpaint, unmarked: bool, encoder: Path) -> tuple[str, str]:
    """The SHA-256 of the detector's and of the embedder's file, "" for one that is not used.

    unmarked: a picture has no polygon of its face. The detector is also asked for the five points that an embedder
    needs. encoder: the folder of pretrain_encoder, whose weights embedder "encoder" has.

    Raises:
        MissingWeightsError: a file that is needed is not there.
    """
    asked = settings.detector != "none" and (unmarked or settings.embedder in ALIGNED)
    detector = embedder = ""
    if asked:
        detector = _checksum(Path(settings.detector_file), "detector", settings.detector)
    if settings.embedder in ALIGNED:
        embedder = _checksum(Path(settings.embedder_file), "embedder", settings.embedder)
    elif settings.embedder == "encoder":
        embedder = _checksum(encoder / WEIGHTS, "embedder", settings.embedder)
    return detector, embedder


def _checksum(file: Path, key: str, value: str) -> str:
    if not file.is_file():
        raise MissingWeightsError(
            f"inpaint.prepare.{key}_file={file} is not there, and inpaint.prepare.{key}={value} needs it: bring it "
            "(visage models fetch yunet, dvc repro pretrain_encoder), or set the key to none"
        )
    return sha256_file(file)


def _assemble(
    results: Results,
    originals: Sequence[Original],
    refused: Sequence[Rejected],
    data: InpaintData,
    settings: PrepareInpaint,
    fractions: Mapping[str, float],
    seed: int,
    out: Path,
    plots: Path,
) -> dict[str, Any]:
    """Write everything but the metrics; returns what they hold."""
    errors: list[str] = []
    counts: list[int] = []
    for _, outcome in results.read():
        errors += outcome.errors
        counts += [int(n) for n, error in zip(outcome.arrays[COUNT], outcome.errors, strict=True) if not error]
    pairs = list(zip(originals, errors, strict=True))
    bad = [*refused, *(Rejected(original.picture, error) for original, error in pairs if error)]
    good = [original for original, error in pairs if not error]
    write_quarantine(out, bad)
    faulty = [entry for entry in bad if not entry.reason.startswith((UNPAIRED, NO_HAIR))]
    limit = settings.max_bad_fraction
    check_usable(len(good), faulty, bad, limit, "inpaint.prepare", "original", out / QUARANTINE)
    splits = split_groups([("inpaint", original.source) for original in good], fractions, seed)
    check_splits(
        [{"source": original.source, "split": splits[original.source]} for original in good],
        fractions, "inpaint.prepare", data.root, SOURCE,
    )  # fmt: skip
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    facts: list[dict[str, Any]] = []
    kept = shared_out(good, counts, settings.patches_per_source)
    taken: Counter[str] = Counter()
    for original, files in zip(good, _packs(results), strict=True):
        fact = json.loads(files[FACTS])
        stem = Path(original.picture).stem
        taken[stem] += 1
        name = stem if taken[stem] == 1 else f"{stem}_{taken[stem]}"
        patches = sorted(file for file in files if file.startswith("patch_"))[: kept[len(rows)]]
        rows.append(_row(original, name, splits[original.source], files, patches, fact, settings.embedder, out))
        facts.append(fact)
    words = [word for original in good for word in original.unknown]
    result = summary(rows, facts, [original.attributes for original in good], words, bad, settings)
    digest = results.plan.digest
    write_json(out / META, {"name": data.name, "size": settings.size, "patch": settings.patch, "style": settings.style,
                            "curls": CURLS, "volumes": VOLUMES, "source": SOURCE, "digest": digest})  # fmt: skip
    write_samples(out, rows, seed, plots / "samples.png")
    write_jsonl(out / METADATA, map(stored_row, rows))
    return result


def write_quarantine(out: Path, bad: Sequence[Rejected]) -> None:
    """Write quarantine.jsonl: what is not used, and why."""
    write_jsonl(out / QUARANTINE, ({"sample_id": entry.sample_id, "reason": entry.reason} for entry in bad))


def _packs(results: Results) -> Iterator[dict[str, bytes]]:
    """The files of every original that is good, in order."""
    for _, outcome in results.read():
        for content, error in zip(outcome.arrays[PACK], outcome.errors, strict=True):
            if not error:
                yield unpack(content)


def _row(
    original: Original,
    name: str,
    split: str,
    files: Mapping[str, bytes],
    patches: Sequence[str],
    fact: Mapping[str, Any],
    embedder: str,
    out: Path,
) -> Row:
    """Write one original's files; returns its row."""
    places = {"image.png": IMAGES, "bald.png": BALD, "filled.png": MASKS, "hair.png": HAIR, "style.png": STYLE,
              "identity.npy": IDENTITY}  # fmt: skip
    paths = {file: f"{folder}/{name}{Path(file).suffix}" for file, folder in places.items()}
    written = {paths[file]: files[file] for file in places}
    cut = [f"{PATCHES}/{name}_{index:03d}.png" for index in range(len(patches))]
    written |= {path: files[patch] for path, patch in zip(cut, patches, strict=True)}
    for path, content in written.items():
        write_bytes(out / path, content)
    curl, volume = labels(original.attributes)
    return Row(
        id=name,
        source=original.source,
        split=split,
        file=original.picture,
        image=paths["image.png"],
        bald=paths["bald.png"],
        mask=paths["filled.png"],
        hair_only=paths["hair.png"],
        style=paths["style.png"],
        identity=paths["identity.npy"],
        identity_by=embedder,
        identity_missing=fact["identity_missing"],
        patches=cut,
        num_patches=len(cut),
        text_prompt=prompt(original.attributes),
        curl=curl,
        volume=volume,
        face=fact["face"],
        face_by=fact["face_by"],
        hair_share=fact["hair_share"],
        filled_share=fact["filled_share"],
    )
