"""The page of stages: what dvc.yaml says each one reads, which parameters decide it, and what it makes."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

HEAD = """# Stages

The pipeline as `dvc.yaml` has it. `dvc repro NAME` runs a stage and what it needs; a stage runs again when what it
reads, its parameters or its code have changed. Each is started by the short file of its name in `stages/`."""


def stages(root: Path) -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml by name, with what it takes from params.yaml filled in; those of a `foreach` stand once,
    as NAME@{first,second}."""
    params = OmegaConf.load(root / "params.yaml")
    found: dict[str, dict[str, Any]] = {}
    for name, stage in yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"].items():
        items = stage.get("foreach", [])
        # A list of parameters, given as ${a.b}.
        items = OmegaConf.select(params, items[2:-1]) if isinstance(items, str) else items
        choice = f"{{{','.join(items)}}}"
        text = json.dumps(stage["do"] if items else stage).replace("${item}", choice)
        filled = re.sub(r"\$\{([\w.]+)\}", lambda found: str(OmegaConf.select(params, found[1])), text)
        found[f"{name}@{choice}" if items else name] = json.loads(filled)
    return found


def page(root: Path) -> str:
    """The page, in Markdown."""
    lines, params = [HEAD], OmegaConf.load(root / "params.yaml")

    def anchor(key: str) -> str:
        """The heading on the page of parameters under which `key` stands: its section's."""
        section = key if OmegaConf.is_dict(OmegaConf.select(params, key)) else key.rpartition(".")[0]
        return section.replace(".", "") or "at-the-top"

    for name, stage in stages(root).items():
        reads = [path for path in _paths(stage, "deps") if not path.endswith(".py")]
        rows = {
            "reads": _code(reads),
            "parameters": ", ".join(f"[`{key}`](parameters.md#{anchor(key)})" for key in _paths(stage, "params")),
            "makes": _code(_paths(stage, "outs")),
            "metrics": _code(_paths(stage, "metrics")),
            "plots": _code(_paths(stage, "plots")),
        }
        lines += ["", f"## {name}", "", f"{stage['desc'][0].upper()}{stage['desc'][1:]}.", ""]
        lines += [f"- {title}: {text}" for title, text in rows.items() if text]
    return "\n".join(lines) + "\n"


def _paths(stage: dict[str, Any], kind: str) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in stage.get(kind, [])]


def _code(paths: list[str]) -> str:
    return ", ".join(f"`{path}`" for path in paths)
