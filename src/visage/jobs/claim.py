"""Claims: a lock on a file that the kernel gives back when its holder dies, however it dies.

There is no lease and no heartbeat, so a stopped or jumping clock, a suspended laptop and a slow disk change nothing. On
a network file system the locks of several hosts have to meet; most do (NFS 4), and where they do not two hosts compute
the same bytes twice and the second result replaces the first.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Yield whether this process holds `path` now; it does not wait. The file is gone when the holder is done."""
    descriptor = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)  # before the lock is given back: whoever opens the path makes a new file
            os.close(descriptor)


@contextmanager
def hold(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold `path`, waiting for it; many may hold it shared. The file stays."""
    descriptor = _lock(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    assert descriptor is not None
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Yield whether nobody else holds `path`, shared or not; it does not wait, and others wait until the end."""
    descriptor = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(path: Path, operation: int) -> int | None:
    """A descriptor of `path` that holds the lock, or None where somebody else does."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)  # cleaning up may have removed it a moment ago
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # the holder before removed the file between our opening and our locking it


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
