"""What several tests share: where the repository is, and real pictures where they lie beside it."""

from pathlib import Path

import pytest

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
