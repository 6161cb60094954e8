"""A .npy file that grows by one array at a time, for results of unknown number that must not be held in memory.

numpy pads the header so that the first axis may grow in place; the shape is therefore written last, and a file whose
writer was killed says that it holds nothing.
"""

import hashlib
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import DTypeLike


class GrowingArray:
    """Writes `path` as an array of N x `shape`; use it in a `with` statement."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.shape, self.dtype, self.length = shape, np.dtype(dtype), 0
        self._content = hashlib.sha256()
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
        self._write_header()

    def append(self, array: np.ndarray) -> None:
        """Add one array of `shape`; it is cast to the dtype where that loses nothing but precision."""
        assert array.shape == self.shape, (array.shape, self.shape)
        content = np.ascontiguousarray(array.astype(self.dtype, casting="same_kind", copy=False)).data
        self._file.write(content)
        self._content.update(content)
        self.length += 1

    def digest(self) -> str:
        """The SHA-256, in hex, of what was added so far: of the numbers alone, not of the header."""
        return self._content.hexdigest()

    def __enter__(self) -> "GrowingArray":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._write_header()

    def _write_header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False,
                  "shape": (self.length, *self.shape)}  # fmt: skip
        np.lib.format.write_array_header_1_0(self._file, header)
