"""What several tests share: where the repository is, the smoke preset's results, real pictures beside it."""

import os
import shutil
from pathlib import Path

import pytest

from project import Project, make_project
from visage.jobs.claim import hold

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def portraits() -> Path:
    """A folder of real photographs beside the repository; skips where it is absent."""
    folder = ROOT.parent / "shared" / "real" / "portraits"
    if not folder.is_dir():
        pytest.skip("no real photographs beside the repository")
    return folder


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The repository with the whole DAG run at its smallest, to be copied by whoever changes anything in it.

    It takes minutes, so all processes of one test run make it once: the others wait for the first.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    finished, unfinished = base / "smoke", base / "smoke-unfinished"
    with hold(base / "smoke.lock"):
        if not finished.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            make_project(unfinished)
            unfinished.rename(finished)
    return Project(finished)
