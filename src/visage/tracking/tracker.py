"""`track`: everything that listens to one run, as a context manager that training code needs to know nothing more of.

A server, a full disk or a busy database costs the record and never the run: each listener deals with its own failures
and says so once. The one exception is DVCLive's files, which are a stage's declared output and must exist.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from visage.errors import Unfinished
from visage.tracking.base import NullTracker, Together, Tracker
from visage.tracking.values import flatten, hide

__all__ = ["NullTracker", "Tracker", "track"]


@contextmanager
def track(
    stage: str, *, params: Mapping[str, Any], tags: Mapping[str, str] = {}, live_dir: Path | None = None
) -> Iterator[Tracker]:
    """Record what happens inside the `with` as one run of `stage`.

    `params` is the stage's configuration (nested mappings or dataclasses), `tags` free text. With `live_dir`, DVCLive
    writes its files there. The run ends as "finished", or, where an exception leaves the block, as "unfinished"
    (`visage.errors.Unfinished`), "interrupted" (Ctrl-C) or "failed"; the exception goes on. In a process whose RANK is
    not 0 nothing is recorded.
    """
    tracker = (
        _open(stage, flatten(params), dict(tags), live_dir) if os.environ.get("RANK", "0") == "0" else NullTracker()
    )
    status = "failed"
    try:
        yield tracker
        status = "finished"
    except Unfinished:
        status = "unfinished"
        raise
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        tracker.close(status)


def _open(stage: str, params: Mapping[str, Any], tags: Mapping[str, str], live_dir: Path | None) -> Tracker:
    from visage.tracking.database import database_path
    from visage.tracking.live import LiveTracker
    from visage.tracking.machine import git_state, repository_root
    from visage.tracking.record import open_row
    from visage.tracking.remote import open_mlflow

    params, tags = hide(params), hide(tags)
    revision, dirty = git_state()
    code = {"experiment": os.environ.get("DVC_EXP_NAME", ""), "revision": revision, "dirty": dirty}
    row = {"stage": stage, "params": params, "tags": tags, **code}
    stamps = {name: str(value) for name, value in code.items() if value}
    return Together(
        [
            LiveTracker(live_dir) if live_dir else NullTracker(),
            open_row(database_path(repository_root()), row),
            open_mlflow(stage, params, stamps | tags),
        ]
    )
