"""The local import closure of a file: every module of src/ that it runs, found in the syntax tree.

`python tests/closure.py stages/finetune_faces.py` prints the code dependencies that the stage needs in dvc.yaml.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
# Reviewed: these change no result. visage.config only joins the domains' schemas, which stages get through the domain
# itself.
NEUTRAL = ("visage.cli", "visage.config", "visage.errors", "visage.tracking")


def module_file(name: str) -> Path | None:
    """The file of a module of src/, None for packages (their __init__ holds a docstring) and foreign modules."""
    path = SRC / (name.replace(".", "/") + ".py")
    return path if path.is_file() else None


def imported_modules(path: Path) -> Iterator[str]:
    """The names of the visage modules that `path` imports anywhere, type-checking imports excepted."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("visage"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("visage"):
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if module_file(submodule) else str(node.module)


def dag() -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml with their parameters filled in, by the names that DVC gives them (stage, stage@item)."""
    params = OmegaConf.load(ROOT / "params.yaml")
    stages: dict[str, dict[str, Any]] = {}
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].items():
        items = stage.get("foreach", [None])
        # A list of parameters, given as ${a.b}.
        for item in OmegaConf.select(params, items[2:-1]) if isinstance(items, str) else items:
            text = json.dumps(stage if item is None else stage["do"]).replace("${item}", str(item))
            filled = re.sub(r"\$\{([\w.]+)\}", lambda found: str(OmegaConf.select(params, found[1])), text)
            stages[name if item is None else f"{name}@{item}"] = json.loads(filled)
    return stages


def closure(path: Path) -> list[str]:
    """`path` and the files it runs, less the neutral ones, relative to the root and sorted."""
    found: set[Path] = set()
    todo = [path]
    while todo:
        current = todo.pop()
        if current in found:
            continue
        found.add(current)
        for name in imported_modules(current):
            file = module_file(name)
            if file is not None and not name.startswith(NEUTRAL):
                todo.append(file)
    return sorted(file.relative_to(ROOT).as_posix() for file in found)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print("\n".join(f"      - {file}" for file in closure(ROOT / argument)))
