"""The tracker behind MLflow: parameters, metrics per epoch, artefacts and tags of one run, on the server at the URI.

The client is used instead of MLflow's global run, so nothing is printed and two runs in one process do not meet. Its
defaults (120 s per request, 7 retries, usage reports to its makers) are for services; ours answer or are given up.
"""

import importlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from visage.tracking.background import BackgroundTracker
from visage.tracking.base import NullTracker, Tracker
from visage.tracking.values import redact

EXPERIMENT = "visage"
CLOSE_SECONDS = 5.0
BATCH = 100  # MLflow takes at most 100 parameters, 100 tags and 1000 metrics in a request

_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0.1",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the URL may hold a password
}
_STATUS = {"finished": "FINISHED", "failed": "FAILED"}
_NOT_IN_A_NAME = re.compile(r"[^\w\-. /]")

log = logging.getLogger("visage.tracking")


class MlflowTracker(Tracker):
    """One MLflow run; every call is made on the caller's thread and raises MLflow's errors."""

    def __init__(self, uri: str, stage: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient(tracking_uri=uri)
        stamped = {"stage": stage, **tags}
        run = self._client.create_run(self._experiment_id(), tags=stamped, run_name=tags.get("experiment") or stage)
        self._run_id = run.info.run_id
        named = (Param(_name(name), str(value)) for name, value in params.items())
        for batch in _batches(named):
            self._client.log_batch(self._run_id, params=batch)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Send one point per metric."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for batch in _batches(Metric(_name(name), value, now, step) for name, value in values.items()):
            self._client.log_batch(self._run_id, metrics=batch)

    def summary(self, values: Mapping[str, float | int | str]) -> None:
        """Send final numbers as metrics named `final/...`, so they never end a per-epoch curve; texts as tags."""
        numbers = {f"final/{name}": float(value) for name, value in values.items() if not isinstance(value, str)}
        self.metrics(numbers, step=0)
        for name, value in values.items():
            if isinstance(value, str):
                self._client.set_tag(self._run_id, _name(name), redact(value))

    def artifact(self, path: Path) -> None:
        """Upload a file, or a folder under its own name."""
        if path.is_dir():
            self._client.log_artifacts(self._run_id, str(path), artifact_path=path.name)
        else:
            self._client.log_artifact(self._run_id, str(path))

    def close(self, status: str) -> None:
        """End the MLflow run; "unfinished" and "interrupted" are KILLED there, the exact word is its tag `status`."""
        self._client.set_tag(self._run_id, "status", status)
        self._client.set_terminated(self._run_id, _STATUS.get(status, "KILLED"))

    def _experiment_id(self) -> str:
        if os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return os.environ["MLFLOW_EXPERIMENT_ID"]
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        return found.experiment_id if found else self._client.create_experiment(name)


def open_mlflow(stage: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> Tracker:
    """The MLflow tracker in the background where `MLFLOW_TRACKING_URI` is set; else one warning and a null tracker."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        log.warning("MLFLOW_TRACKING_URI is not set: this run is recorded in experiments.db only (see `visage runs`)")
        return NullTracker()
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        # On this thread: an import under way in another one would deadlock a worker forked meanwhile.
        importlib.import_module("mlflow")
    except ImportError as error:
        log.warning("MLFLOW_TRACKING_URI is set but mlflow cannot be imported (%s): pip install mlflow", error)
        return NullTracker()
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # its retries would be a second warning
    return BackgroundTracker(f"MLflow at {redact(uri)}", lambda: MlflowTracker(uri, stage, params, tags), CLOSE_SECONDS)


def _name(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name)[:250]


def _batches(items: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(items, BATCH)):
        yield batch
