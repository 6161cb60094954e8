"""The CSV of labels (file,label[,group][,source]), read strictly: every fault names the row and the column.

A bad row stops the reading instead of being skipped: a table is written by one person at one time, so one slip in it
(a shifted column, a wrong delimiter) usually means more. Only files that are missing or forbidden are left to the
caller to quarantine.
"""

import csv
import io
import posixpath
import unicodedata
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from visage.errors import DataError

REQUIRED, OPTIONAL = ("file", "label"), ("group", "source")
MAX_LABEL_BYTES = 200  # a label becomes a folder's name; file systems stop at 255


@dataclass(frozen=True)
class LabelRow:
    """One row; `file` is normalised, `group` and `source` are empty where the table does not say."""

    file: str
    label: str
    group: str = ""
    source: str = ""


def read_label_table(path: Path) -> list[LabelRow]:
    """Read a UTF-8 CSV (with or without a byte order mark; comma or semicolon) with the header file,label[,...].

    Raises:
        DataError: unreadable, a missing or repeated column, a row of the wrong length, an empty or unusable value,
            or a file listed twice. Row numbers are the file's lines, the header being row 1.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: the CSV of labels is unreadable ({error.strerror}): check the path") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: the CSV of labels is not UTF-8: save it as UTF-8") from None
    header_line = text.partition("\n")[0]
    delimiter = ";" if ";" in header_line and "," not in header_line else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        _check_columns(path, columns)
        rows: dict[str, tuple[int, LabelRow]] = {}
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            row = _row(path, reader.line_num, columns, values)
            if row.file in rows:
                raise DataError(f"{path}: row {reader.line_num}, column file: {row.file!r} is in row "
                                f"{rows[row.file][0]} too: keep one of them")  # fmt: skip
            rows[row.file] = (reader.line_num, row)
    except csv.Error as error:
        raise DataError(f"{path}: row {reader.line_num}: not a CSV ({error}): save it again as CSV") from None
    return [row for _, row in rows.values()]


def _check_columns(path: Path, columns: list[str]) -> None:
    for name in REQUIRED:
        if name not in columns:
            near = get_close_matches(name, columns, 1)
            hint = f" (rename {near[0]!r}?)" if near else ""
            raise DataError(f"{path}: row 1: no column {name!r}{hint}: the header is file,label[,group][,source]")
    for name in (*REQUIRED, *OPTIONAL):
        if columns.count(name) > 1:
            raise DataError(f"{path}: row 1: column {name!r} is there twice: keep one")


def _row(path: Path, line: int, columns: list[str], values: list[str]) -> LabelRow:
    if len(values) != len(columns):
        raise DataError(f"{path}: row {line}: {len(values)} values for {len(columns)} columns: quote commas")
    cells = {name: value.strip() for name, value in zip(columns, values, strict=True)}
    for name in REQUIRED:
        if not cells[name]:
            raise DataError(f"{path}: row {line}, column {name}: empty: fill it in or remove the row")
    label = cells["label"] = unicodedata.normalize("NFC", cells["label"])
    if _unsafe(label):
        raise DataError(
            f"{path}: row {line}, column label: {label!r} cannot name a folder: use no /, \\, control characters, "
            f"leading dot or more than {MAX_LABEL_BYTES} bytes"
        )
    if "\0" in cells["file"]:
        raise DataError(f"{path}: row {line}, column file: has a NUL character: correct the name")
    return LabelRow(posixpath.normpath(cells["file"]), label, cells.get("group", ""), cells.get("source", ""))


def _unsafe(label: str) -> bool:
    control = any(unicodedata.category(character).startswith("C") for character in label)
    return control or label.startswith(".") or "/" in label or "\\" in label or len(label.encode()) > MAX_LABEL_BYTES
