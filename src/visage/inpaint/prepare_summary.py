"""What `prepare_inpaint` reports: counts, classes, yields, coverage of the vocabulary, faults."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from visage.inpaint.config import PrepareInpaint
from visage.inpaint.prompt import CURL_FIELD, CURLS, MISSING, VOLUME_FIELD, VOLUMES
from visage.inpaint.record import Row
from visage.io.eye_frames import Rejected
from visage.io.hair_frames import Attribute
from visage.io.intake import count_reasons
from visage.io.khairstyle_vocabulary import VOCABULARY
from visage.io.splits import SPLITS


def summary(
    rows: Sequence[Row],
    facts: Sequence[Mapping[str, Any]],
    attributes: Sequence[Mapping[str, Attribute]],
    unknown: Sequence[str],
    bad: Sequence[Rejected],
    settings: PrepareInpaint,
) -> dict[str, Any]:
    """The numbers of `metrics/prepare_inpaint.json`.

    facts: of the packs. attributes: of each row's record. unknown: "field=value" of words without a translation.
    """
    counts = np.array([row.num_patches for row in rows])

    def of_classes(name: str, classes: Sequence[str]) -> dict[str, int]:
        found = Counter(getattr(row, name) for row in rows)
        return {**{word: found[number] for number, word in enumerate(classes)}, "missing": found[MISSING]}

    return {
        "pictures": {split: sum(row.split == split for row in rows) for split in SPLITS},
        "sources": {split: len({row.source for row in rows if row.split == split}) for split in SPLITS},
        "curl": of_classes("curl", CURLS),
        "volume": of_classes("volume", VOLUMES),
        "faces": dict(sorted(Counter(row.face_by for row in rows).items())),
        "identity": {
            "embedder": settings.embedder,
            **dict(sorted(Counter((row.identity_missing or "there").replace(" ", "_") for row in rows).items())),
        },
        "patches": {
            "total": int(counts.sum()),
            "candidates": sum(fact["patch_candidates"] for fact in facts),
            "per_picture": round(float(counts.mean()), 3),
            "pictures_without": int(np.sum(counts == 0)),
        },
        "share": {
            name: round(float(np.mean([getattr(row, f"{name}_share") for row in rows])), 4)
            for name in ("hair", "filled")
        },
        "mapping": {
            "coverage": {
                field: round(sum(field in known for known in attributes) / len(attributes), 4) for field in VOCABULARY
            },
            "unknown_words": dict(sorted(Counter(unknown).items())),
        },
        "labels_used": {"curl": CURL_FIELD, "volume": VOLUME_FIELD},
        "quarantined": {"total": len(bad), "reasons": count_reasons(bad)},
    }
