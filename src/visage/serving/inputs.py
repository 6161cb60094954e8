"""The pictures that a command line names: files as they are given, folders searched recursively.

The output folder is left out of the search: a second run over a folder that contains its own output would otherwise
read the masks of the first. A file given by name is always tried, whatever it is called.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from visage.errors import VisageError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


def find_pictures(images: Sequence[Path | str], out: Path) -> list[Path]:
    """Files in the given order, folders replaced by their sorted pictures; each path once; hidden files passed over.

    Raises:
        VisageError: a path does not exist, or there is no picture at all.
    """
    found: dict[Path, None] = {}
    for given in map(Path, images):
        if given.is_dir():
            found.update(dict.fromkeys(_search(given, out)))
        elif given.exists():
            found[given] = None
        else:
            raise VisageError(f"{given}: no such file or folder")
    if not found:
        where = ", ".join(map(str, images)) or "the arguments"
        raise VisageError(f"no pictures in {where}: give files, or folders with {', '.join(sorted(SUFFIXES))}")
    return list(found)


def unique_names(paths: Iterable[Path]) -> list[str]:
    """A name for each path: its stem, or with _2, _3 ... where an earlier one has it (also in other upper case)."""
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name, count = path.stem, 1
        while name.casefold() in taken:
            count += 1
            name = f"{path.stem}_{count}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _search(folder: Path, out: Path) -> list[Path]:
    made = out.resolve()
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.resolve().is_relative_to(made)
    )
