"""All stages of the faces once, on a handful of coloured pictures."""

import os
from pathlib import Path

import pytest

from faces import test_finetune, test_heads
from faces.small import encoded, measure, prepared, runtime, settings
from visage.faces.export import export


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which finetune, train_heads, evaluate and export have run."""
    folder = tmp_path_factory.mktemp("trained")
    os.environ["DVC_ROOT"] = str(folder)
    try:
        encoded(folder / "features", prepared(folder / "data"))
        test_finetune.run(folder, settings(epochs=12), runtime())
        test_heads.run(folder)
        measure(folder)
        export(
            runtime(), seed=3, data=folder / "data", model=folder / "out/best_model.pth", encoder="",
            heads=folder / "out", features=folder / "features", evaluation=folder / "evaluate.json",
            out=folder / "model", head_out=folder / "head", metrics=folder / "export.json",
        )  # fmt: skip
    finally:
        del os.environ["DVC_ROOT"]
    return folder
