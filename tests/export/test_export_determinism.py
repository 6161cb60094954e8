"""Exports are the same bytes in another process, directory, hash seed, and after other models were traced."""

import os
import subprocess
import sys
from pathlib import Path

import visage

SOURCE = str(Path(visage.__file__).parents[1])
SCRIPT = """
import sys, torch
from pathlib import Path
from torch import nn
from visage.export.card import ModelCard, Preprocessing
from visage.export.export import export_model

def net():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.SiLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(body, nn.Flatten(), nn.Linear(8, 4))

examples = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
card = ModelCard("m", "classification", Preprocessing(16, 16, (0.5,) * 3, (0.5,) * 3), list("abcd"),
                 {"b": 1.5, "a": 2}, {"z": "1", "data": {"y": "2", "x": "3"}}, "net")
for _ in range(int(sys.argv[1])):
    export_model(net(), card, examples, Path("other"))
export_model(net(), card, examples, Path("out"))
"""


def test_bytes_do_not_depend_on_process_directory_or_history(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "another" / "deeper"]
    processes = []
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        environment = {**os.environ, "PYTHONPATH": SOURCE, "PYTHONHASHSEED": str(number), "OMP_NUM_THREADS": "1"}
        # 20 earlier exports take the counter in TorchScript's class names from one digit to three.
        command = [sys.executable, "-c", SCRIPT, str(20 * number)]
        processes.append(subprocess.Popen(command, cwd=folder, env=environment))
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    names = sorted(path.name for path in (folders[0] / "out").iterdir())
    assert len(names) == 4
    for name in names:
        first, second = ((folder / "out" / name).read_bytes() for folder in folders)
        assert first == second, name
        for leak in (SOURCE, sys.prefix, str(tmp_path)):
            assert leak.encode() not in first, f"{name} holds {leak}"
