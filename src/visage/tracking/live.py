"""The tracker behind DVCLive's files, in its quiet form: no dvc.yaml, no experiment commit, no report, no params.yaml.

What it writes is a stage's output, compared across commits, so it must be the same bytes at every run: DVCLive adds no
timestamp unless asked, but values that differ by nature (times, memory, rates) are left out here and numbers are cut
to six digits. They are all in the runs table.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from visage.tracking.base import Tracker
from visage.tracking.values import differs_by_nature


class LiveTracker(Tracker):
    """Writes `directory/plots/metrics/<name>.tsv` (step, value) and `directory/metrics.json` (the last values).

    Earlier files of DVCLive's in `directory` are removed. A resumed run must replay its history through `metrics`;
    then its files equal an uninterrupted run's.
    """

    def __init__(self, directory: Path) -> None:
        self._live = _quiet_live(directory)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Append one row per metric that is the same at every run."""
        self._live.step = step
        for name, value in reproducible(values).items():
            self._live.log_metric(name, value)
        self._live.sync()

    def summary(self, values: Mapping[str, float | int | str]) -> None:
        """Put the final values into metrics.json."""
        self._live.summary.update(reproducible(values))

    def artifact(self, path: Path) -> None:
        """Nothing: DVCLive would `dvc add` what a stage already declares."""

    def close(self, status: str) -> None:
        """Write metrics.json; the status, which is no result, stays out of it."""
        self._live.end()


def reproducible(values: Mapping[str, float | int | str]) -> dict[str, float | int | str]:
    """The values that two runs of the same code share: no times, rates or memory; floats with six digits."""
    kept = {name: value for name, value in values.items() if not differs_by_nature(name)}
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in sorted(kept.items())}


def _quiet_live(directory: Path) -> Any:
    from dvclive import Live
    from scmrepo.exceptions import SCMError

    class QuietLive(Live):
        def _init_dvc(self) -> None:
            # DVCLive asks git for the revision and dies in a repository without a commit; its files need none.
            self._dvc_file = "dvc.yaml"
            with suppress(SCMError):
                super()._init_dvc()

    return QuietLive(dir=str(directory), dvcyaml=None, save_dvc_exp=False, report=None)
