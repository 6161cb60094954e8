"""A folder of finished files that expire: bounded in time and in bytes, safe from names that would leave it.

A file's name is the hash of its content, so nobody chooses one: the same content is kept once, and a name from outside
is either of that form or refused before the disk is touched. Writers of all threads and processes take turns by a lock
that the kernel frees with its holder.
"""

import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from visage.errors import VisageError
from visage.io.atomic import atomic_path, sha256_bytes, sweep
from visage.jobs.claim import hold

SUFFIXES = (".png", ".jpg")
DIGITS = 32
NAME = re.compile(rf"[0-9a-f]{{{DIGITS}}}(?:{'|'.join(map(re.escape, SUFFIXES))})")
LOCK = ".lock"


class OutputStore:
    """Files of at most `max_bytes` in all, each for `ttl_s` seconds after it was last put.

    folder: made where it is missing, readable by this user alone; files in it that the store has not made are left
    alone and not counted. clock: seconds since 1970, another one for tests.

    Raises:
        VisageError: ttl_s or max_bytes is not above 0, or `folder` is a file.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        ttl_s: float = 3600.0,
        max_bytes: int = 1 << 30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not ttl_s > 0 or max_bytes < 1:
            raise VisageError(f"ttl_s={ttl_s:g}, max_bytes={max_bytes}: both must be above 0")
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise VisageError(f"{self.folder}: is a file: name a folder for the outputs")
        self.ttl_s, self.max_bytes, self._clock = ttl_s, max_bytes, clock

    def put(self, content: bytes, suffix: str = ".png") -> str:
        """Keep `content` and return its name; expired files go, and the oldest where the bound needs it.

        Raises:
            VisageError: an unknown suffix, or content larger than the whole store.
        """
        if suffix not in SUFFIXES:
            raise VisageError(f"suffix {suffix!r}: choose one of {', '.join(SUFFIXES)}")
        if len(content) > self.max_bytes:
            raise VisageError(f"{len(content):,} bytes, the store holds {self.max_bytes:,}: raise max_bytes")
        name = sha256_bytes(content)[:DIGITS] + suffix
        path, times = self.folder / name, (self._clock(),) * 2
        with self._locked():
            written = _written(path)
            if written is not None and written.st_size == len(content):
                os.utime(path, times)  # whoever reads it now sees no gap
                self._remove_expired()
            else:
                self._make_room(len(content))
                with atomic_path(path) as tmp:
                    tmp.write_bytes(content)
                    os.utime(tmp, times)
        return name

    def path(self, name: str) -> Path:
        """Where the file of a name that `put` returned lies; it may expire later, so read it soon, or use `read`.

        Raises:
            VisageError: no such name, never put, or expired.
        """
        if not NAME.fullmatch(name):
            raise VisageError(f"no output {name!r}: names are those that the store gave")
        path = self.folder / name
        written = _written(path)
        if written is None or self._expired(written.st_mtime):
            raise VisageError(f"no output {name!r}: it has expired or was never made: make it again")
        return path

    def read(self, name: str) -> bytes:
        """The content of a name that `put` returned.

        Raises:
            VisageError: as `path`.
        """
        path = self.path(name)
        try:
            # A link that took the file's place since is not followed.
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                return file.read()
        except OSError:
            raise VisageError(f"no output {name!r}: it has just expired: make it again") from None

    def sweep(self) -> int:
        """Remove what has expired, and what killed writers left; returns how many outputs. `put` does it too."""
        with self._locked():
            return self._remove_expired()

    def _make_room(self, size: int) -> None:
        """Remove the oldest until `size` more bytes fit."""
        self._remove_expired()
        files = self._files()
        total = sum(written.st_size for _, written in files)
        for path, written in sorted(files, key=lambda item: (item[1].st_mtime_ns, item[0].name)):
            if total + size <= self.max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= written.st_size

    def _remove_expired(self) -> int:
        sweep(self.folder)  # under the lock, every temporary file is an orphan
        expired = [path for path, written in self._files() if self._expired(written.st_mtime)]
        for path in expired:
            path.unlink(missing_ok=True)
        return len(expired)

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        """The store's own files; links and folders are not, whatever they are called."""
        found = ((self.folder / name, _written(self.folder / name)) for name in os.listdir(self.folder))
        return [(path, written) for path, written in found if written is not None and NAME.fullmatch(path.name)]

    def _expired(self, written: float) -> bool:
        return self._clock() - written > self.ttl_s

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with hold(self.folder / LOCK):
            yield


def _written(path: Path) -> os.stat_result | None:
    """A regular file's own status, None for anything else."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None
