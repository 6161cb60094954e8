"""Output file names made from sample ids: flat, unique within a class, and valid on every file system.

A name depends on the ids of its own class only, never on the split, so a picture keeps its name when a split changes.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')
MAX_BYTES = 180  # file systems stop at 255, and a suffix and a temporary mark follow


def file_names(sample_ids: Sequence[str], labels: Sequence[str]) -> list[str]:
    """A name without suffix for each sample id: "ProfA/s1/07" of class ProfA becomes "s1__07".

    Names that would be equal in one class, for a file system that ignores case too, or that are too long end with 8
    digits of the id's SHA-256.
    """
    names = []
    for sample_id, label in zip(sample_ids, labels, strict=True):
        name = FORBIDDEN.sub("_", sample_id.removeprefix(f"{label}/").replace("/", "__"))
        names.append("_" + name[1:] if name.startswith(".") else name)
    keys = [(label, name.casefold()) for label, name in zip(labels, names, strict=True)]
    taken = Counter(keys)
    return [
        name if taken[key] == 1 and len(name.encode()) <= MAX_BYTES else _with_digest(name, sample_id)
        for name, key, sample_id in zip(names, keys, sample_ids, strict=True)
    ]


def _with_digest(name: str, sample_id: str) -> str:
    short = name.encode()[: MAX_BYTES - 9].decode(errors="ignore")
    return f"{short}-{hashlib.sha256(sample_id.encode()).hexdigest()[:8]}"
