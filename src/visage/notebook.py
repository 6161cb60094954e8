"""What every notebook would repeat: where it runs, what it needs, and how it shows tables, pictures and curves.

A notebook calls stages and the library and holds no logic. An error of the user is one line there as everywhere, and
an input that is missing names the stage that makes it.
"""

import csv
import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visage.config import Config, load_config
from visage.errors import DataError, VisageError
from visage.io.images import encode_png
from visage.runtime import tune, worker_count
from visage.tracking.machine import repository_root

# Inches of a figure with one panel.
PANEL = (5.0, 3.2)


def start(*overrides: str) -> Config:
    """Work from the repository's root; params.yaml with `overrides` ("heads.epochs=3").

    Call it before torch is imported: the threads are set here.

    Raises:
        ConfigError: a key, a type or a value that the schema does not have.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is not None:
        shell.InteractiveTB.set_mode("Minimal")
    # tqdm's advice to install widgets; its bars are text without them.
    warnings.filterwarnings("ignore", message="IProgress not found")
    os.chdir(repository_root())
    config = load_config(overrides)
    tune(config.runtime)
    return config


def need(path: Path | str, stage: str) -> Path:
    """`path`, which `stage` of the pipeline makes.

    Raises:
        DataError: it is not there.
    """
    if not Path(path).exists():
        raise DataError(f"{path} is not there: dvc repro {stage} makes it")
    return Path(path)


def choose_device(asked: str = "") -> str:
    """`asked`, or "cuda" where torch sees a GPU and "cpu" where it does not; prints what there is."""
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            print(f"GPU {index}: {gpu.name}, {gpu.total_memory / (1 << 30):.1f} GB")
    else:
        print(f"no GPU that torch sees; {worker_count()} processors")
    device = asked or ("cuda" if torch.cuda.is_available() else "cpu")
    print(f"device: {device}")
    return device


def run(*words: str) -> float:
    """`visage` with `words` in a process of its own, what it says printed as it comes.

    Returns:
        The most resident memory of that process or of one that it started, in MB; at least this process's own, which
        the system counts until the new program has begun.

    Raises:
        VisageError: it failed.
    """
    command = [sys.executable, "-m", "visage.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise VisageError(f"visage {' '.join(words)} failed with exit code {process.returncode}: see the lines above")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def table(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print `rows`, which have equal keys, under those."""
    from rich.console import Console
    from rich.table import Table

    listed = list(rows)
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in listed[0] if listed else ():
        numeric = all(isinstance(row[name], int | float) for row in listed)
        grid.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        grid.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(highlight=False).print(grid if listed else "none")


def show(*pictures: Path | NDArray[np.uint8]) -> None:
    """Show PNG files and arrays (HxWx3 uint8 RGB or HxW), one below the other."""
    from IPython.display import Image, display

    for picture in pictures:
        content = encode_png(picture) if isinstance(picture, np.ndarray) else picture.read_bytes()
        display(Image(data=content, format="png"))


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def curves(path: Path, panels: Sequence[str], by: str = "") -> None:
    """Draw a trainer's history at `path` over its epochs: a panel for each metric, a line for each split.

    panels: metrics such as "loss", of which the columns are train_loss and valid_loss; a split without the column has
    no line. by: a column (such as "head") each of whose values has lines of its own.
    """
    import matplotlib.pyplot as plt

    rows = read_rows(path)
    figure, axes = plt.subplots(1, len(panels), figsize=(PANEL[0] * len(panels), PANEL[1]), squeeze=False)
    for axis, metric in zip(axes[0], panels, strict=True):
        for name in dict.fromkeys(row.get(by, "") for row in rows):
            mine = [row for row in rows if row.get(by, "") == name]
            colour = None
            for split, style in (("train", "--"), ("valid", "-")):
                column = f"{split}_{metric}"
                if column in mine[0]:
                    epochs, values = [int(row["epoch"]) for row in mine], [float(row[column]) for row in mine]
                    (line,) = axis.plot(epochs, values, style, marker=".", color=colour, label=f"{name} {split}")
                    colour = line.get_color()
        axis.set(xlabel="epoch", title=metric.replace("_", " "))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend()
    figure.tight_layout()
    plt.show()


def offer(*files: Path) -> None:
    """Download `files` to the person's computer in Colab; elsewhere say where they are."""
    try:
        colab = importlib.import_module("google.colab.files")
    except ImportError:
        colab = None
    for file in files:
        print(f"{file} ({file.stat().st_size / 1000:.0f} KB)")
        if colab is not None:
            colab.download(str(file))
