"""Labelled picture folders: class subfolders, or any folder plus a CSV of labels, as one sorted list of items.

Nothing is decoded here. A path or link that leaves the folder is rejected with its reason and never opened, because
the folder is what DVC versions: what lies outside it would change results unseen. Everything is judged on real
paths, so a picture folder that is itself a link is fine.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from visage.errors import DataError
from visage.io.label_table import read_label_table

READ_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"}
# Listed too, so that a phone's HEIC pictures are quarantined with the remedy instead of silently missing.
REFUSED_SUFFIXES = {".heic", ".heif", ".avif", ".tif", ".tiff", ".gif", ".jp2"}
LAYOUTS = (
    "accepted are class subfolders (root/ClassA/[session/]picture.jpg) or a folder with a CSV of labels "
    "(columns file,label[,group][,source]), with JPEG, PNG, WebP or BMP pictures"
)


@dataclass(frozen=True)
class Item:
    """One labelled picture; `group` is what a split must not divide, `source` the person (the label, if not given)."""

    sample_id: str
    path: Path
    label: str
    group: str
    source: str


@dataclass(frozen=True)
class Rejected:
    """A path, relative to the root, that is not used, and why: "fault (detail): remedy"."""

    path: str
    reason: str


def read_folder(
    root: Path, labels: Path | None = None, classes: Sequence[str] | None = None
) -> tuple[list[Item], list[Rejected]]:
    """List a labelled picture folder, sorted by path; the order does not depend on the file system.

    Args:
        root: the folder. Without `labels` its subfolders are the classes; a folder below a class is a group (a
            session), a picture directly in its class is its own group. Hidden files and files without a picture's
            suffix (in any case) are ignored.
        labels: a CSV with columns file,label[,group][,source]; `file` is relative to `root`. A group named in it is
            one group in all classes. Pictures it does not list are ignored.
        classes: keep these only.

    Returns:
        The items, and the pictures that cannot be used with the reason.

    Raises:
        DataError: no folder, no pictures, an unknown class, or a faulty row in the CSV (row and column are named).
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder: {LAYOUTS}")
    real_root = root.resolve()
    entries = sorted(_from_subfolders(real_root) if labels is None else _from_table(real_root, labels))
    if not any(entry.label for entry in entries):
        raise DataError(f"{root}: no labelled pictures ({len(entries)} without a label): {LAYOUTS}")
    if classes is not None:
        _check_classes(root, classes, {entry.label for entry in entries} - {""})
        entries = [entry for entry in entries if entry.label in classes]
    faults = [_path_fault(real_root, entry) for entry in entries]
    good = [entry for entry, fault in zip(entries, faults, strict=True) if not fault]
    items = [
        Item(name, real_root / entry.path, entry.label, entry.group, entry.source)
        for name, entry in zip(_sample_ids([entry.path for entry in good]), good, strict=True)
    ]
    rejected = [Rejected(_printable(entry.path), fault) for entry, fault in zip(entries, faults, strict=True) if fault]
    return items, rejected


class _Entry(NamedTuple):
    """A picture as the layout describes it, not yet checked; the path is relative to the root, the label may be ""."""

    path: str
    label: str
    group: str
    source: str


def _from_subfolders(root: Path) -> Iterator[_Entry]:
    for path in _walk(root, ""):
        label, *between = path.split("/")[:-1] or [path if (root / path).is_dir() else ""]
        yield _Entry(path, label, f"{label}/{between[0]}" if between else path, label)


def _from_table(root: Path, labels: Path) -> Iterator[_Entry]:
    for row in read_label_table(labels):
        yield _Entry(row.file, row.label, row.group or row.file, row.source or row.label)


def _walk(root: Path, relative: str) -> Iterator[str]:
    """Relative paths of pictures below `root/relative`, and of every link to a folder (which is not followed)."""
    try:
        entries = sorted(os.scandir(root / relative), key=lambda entry: entry.name)
    except PermissionError:
        if not relative:
            raise DataError(f"{root}: the folder is unreadable: check its permissions") from None
        yield relative
        return
    for entry in entries:
        path = f"{relative}/{entry.name}" if relative else entry.name
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path)
        elif os.path.isdir(entry.path) or Path(entry.name).suffix.lower() in READ_SUFFIXES | REFUSED_SUFFIXES:
            yield path


def _path_fault(root: Path, entry: _Entry) -> str | None:
    """Why the entry's path may not be opened ("fault (detail): remedy"); None where it may."""
    if _printable(entry.path) != entry.path:
        return "name is not UTF-8: rename it"
    if not entry.label:
        return "not in a class folder: move it into one, or give a CSV of labels"
    if entry.path.startswith(("/", "../")):
        return "leaves the folder: write a path inside it"
    path = root / entry.path
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        return "dangling link: remove it" if path.is_symlink() else "no such file: correct the CSV or add the file"
    except (OSError, RuntimeError) as error:  # a loop of links, a forbidden folder
        return f"unreadable ({getattr(error, 'strerror', None) or error}): check the path and its permissions"
    if not real.is_relative_to(root):
        return "leaves the folder: copy the picture into it"
    if path.is_dir():
        return "link to a folder: copy the folder" if path.is_symlink() else "unreadable folder: check its permissions"
    return None if real.is_file() else "not a file: remove it"


def _printable(text: str) -> str:
    """`text` with bytes that are not UTF-8 escaped, so that it can be written into a JSON file."""
    return text.encode("utf-8", "backslashreplace").decode()


def _sample_ids(paths: Sequence[str]) -> list[str]:
    """Paths without their suffixes; with it where two would share a name (a.jpg and a.png, whichever is first)."""
    stems = [path.removesuffix(Path(path).suffix) for path in paths]
    taken = Counter(stems) + Counter(paths)
    return [stem if taken[stem] == 1 else path for stem, path in zip(stems, paths, strict=True)]


def _check_classes(root: Path, wanted: Sequence[str], known: set[str]) -> None:
    if not wanted:
        raise DataError(f"{root}: classes is an empty list: use null for all classes")
    for name in wanted:
        if name not in known:
            near = get_close_matches(name, sorted(known), 1, cutoff=0.4)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise DataError(f"{root}: no class {name!r}{hint}: there are {', '.join(sorted(known)) or 'none'}")
