"""Open models, kept between calls: each file is loaded once however many threads ask, and again when it changes.

The bound counts the models' file sizes, and the least recently used goes first. A caller keeps the model it was given:
one that is replaced or dropped in the middle of an answer still finishes it, and is freed with its last user.
"""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from visage.errors import VisageError
from visage.serving.model import OnnxModel, find_model

MAX_BYTES = 1 << 30
# Loads of different files wait for each other only where they share one of these.
GATES = 16
# A file that changes while it is loaded is loaded again so often.
TRIES = 3

# Device, inode, size, time of the last change in ns: another file in its place has another inode.
Signature = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Entry:
    model: OnnxModel
    signature: Signature

    @property
    def size(self) -> int:
        return self.signature[2]


class ModelCache:
    """At most `max_bytes` of model files, open; every method may be called from several threads at once.

    threads: for one run of a model, as `OnnxModel` has it; where many threads ask at once, 1 gives the most answers.

    Raises:
        VisageError: max_bytes is below 1.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, threads: int | None = None) -> None:
        if max_bytes < 1:
            raise VisageError(f"max_bytes={max_bytes}: it must be at least 1")
        self.max_bytes, self.threads = max_bytes, threads
        self._entries: OrderedDict[Path, _Entry] = OrderedDict()
        self._lock = Lock()
        self._gates = [Lock() for _ in range(GATES)]

    def get(self, model: Path | str) -> OnnxModel:
        """The model of a folder, an .onnx file or a name, as its file is now.

        Raises:
            VisageError: there is none, its file is damaged, not exported by visage, or larger than the whole cache;
                what was loaded from the file before is dropped, and the next call tries again.
        """
        path = find_model(model)
        key = path.resolve()
        found = self._lookup(key, _signature(path))
        if found is None:
            with self._gates[hash(key) % GATES]:
                found = self._lookup(key, _signature(path)) or self._load(key, path)
        return found

    @property
    def bytes(self) -> int:
        """The size of the files of all models that are kept."""
        with self._lock:
            return sum(entry.size for entry in self._entries.values())

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def _lookup(self, key: Path, signature: Signature) -> OnnxModel | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.signature != signature:
                return None
            self._entries.move_to_end(key)
            return entry.model

    def _load(self, key: Path, path: Path) -> OnnxModel:
        # Room is made first, or the old and the new model would both be held.
        with self._lock:
            self._entries.pop(key, None)
        entry = self._open(path)
        with self._lock:
            self._entries[key] = entry
            while sum(kept.size for kept in self._entries.values()) > self.max_bytes:
                self._entries.popitem(last=False)
        return entry.model

    def _open(self, path: Path) -> _Entry:
        for _ in range(TRIES):
            signature = _signature(path)
            if signature[2] > self.max_bytes:
                raise VisageError(
                    f"{path}: {signature[2]:,} bytes, the cache holds {self.max_bytes:,}: raise max_bytes"
                )
            try:
                model = OnnxModel(path, self.threads)
            except VisageError:
                if _signature(path) == signature:
                    raise
                continue
            if _signature(path) == signature:
                return _Entry(model, signature)
        raise VisageError(f"{path}: changes while it is loaded: write models elsewhere and rename them into place")


def _signature(path: Path) -> Signature:
    try:
        stat = path.stat()
    except OSError as error:
        raise VisageError(f"{path}: unreadable ({error.strerror}): export or copy the model again") from None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
