"""The page of parameters: every leaf of `visage.config.Config`, its type, its default, and what its docstring says."""

import json
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from visage.config import Config
from visage.reference.meanings import introduction, meanings
from visage.reference.prose import as_markdown

HEAD = """# Parameters

Every key of `params.yaml`, with the default that `conf/` composes. Change one with `-S key=value` (`dvc exp run`), or
in `conf/` for good. What stands in small print is the comment beside the value in `conf/`. [Stages](stages.md) says
which stage reads which section."""
COMMENTED = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?P<value>[^#]*)(?:#\s*(?P<comment>.*))?$")


@dataclass(frozen=True)
class Parameter:
    """A leaf of the schema. key: dotted. default: of params.yaml, as YAML writes it on one line, "" inside a mapping
    that people fill. meaning: "" where nothing says it. comment: beside its value in conf/, "" for none."""

    key: str
    type: str
    default: str
    meaning: str
    comment: str = ""


@dataclass(frozen=True)
class Section:
    """The parameters of one dataclass. key: dotted, "" for the root."""

    key: str
    introduction: str
    parameters: list[Parameter]


def sections(root: Path) -> list[Section]:
    """Every dataclass of the schema with its parameters, in the order of params.yaml; `root` is the repository."""
    values = OmegaConf.to_container(OmegaConf.load(root / "params.yaml"))
    comments = conf_comments(root / "conf")
    return list(_sections(Config, "", values, comments))


def page(root: Path) -> str:
    """The page, in Markdown."""
    lines = [HEAD]
    for section in sections(root):
        lines += [
            "",
            f"## {section.key or 'At the top'}",
            "",
            *([as_markdown(section.introduction), ""] * bool(section.introduction)),
        ]
        if section.parameters:
            lines += ["| parameter | type | default | meaning |", "|---|---|---|---|"]
        for one in section.parameters:
            note = f"<br><small>{as_markdown(one.comment)}</small>" if one.comment else ""
            default = f"`{one.default}`" if one.default else ""
            lines.append(f"| `{one.key}` | {one.type} | {default} | {as_markdown(one.meaning)}{note} |")
    return "\n".join(lines) + "\n"


def _sections(cls: type, key: str, values: Any, comments: dict[str, str]) -> Iterator[Section]:
    hints, said, prefix = get_type_hints(cls), meanings(cls), f"{key}." if key else ""
    parameters: list[Parameter] = []
    inner: list[tuple[Any, str, Any]] = []
    for field in fields(cls):
        name, hint = prefix + field.name, hints[field.name]
        value = values.get(field.name) if values is not None else None
        if is_dataclass(hint):
            inner.append((hint, name, value))
            continue
        default = _yaml(value) if values is not None else ""
        parameters.append(Parameter(name, type_name(hint), default, said.get(field.name, ""), comments.get(name, "")))
        if get_origin(hint) is dict and is_dataclass(get_args(hint)[1]):
            inner.append((get_args(hint)[1], f"{name}.NAME", None))
    yield Section(key, introduction(cls), parameters)
    for hint, name, value in inner:
        yield from _sections(hint, name, value, comments)


def type_name(hint: Any) -> str:
    """A type as a reader of YAML knows it: "float", "list of str", "str or null"."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(one) for one in arguments)
    if origin is list:
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return f"mapping of {type_name(arguments[0])} to {type_name(arguments[1])}"
    return "null" if hint is type(None) else str(hint.__name__)


def conf_comments(conf: Path) -> dict[str, str]:
    """The comment beside each value in the groups that conf/config.yaml chooses, by the dotted key.

    A group's file holds the section of its own name; the root file's comments are those of the top-level keys.
    """
    chosen: dict[str, str] = {}
    for entry in OmegaConf.to_container(OmegaConf.load(conf / "config.yaml"))["defaults"]:  # type: ignore[index, call-overload]
        chosen |= entry if isinstance(entry, dict) else {}
    found = dict(_comments(conf / "config.yaml", ""))
    for group, option in chosen.items():
        if option is not None:
            found |= dict(_comments(conf / group / f"{option}.yaml", group.replace("/", ".") + "."))
    return found


def _comments(path: Path, prefix: str) -> Iterator[tuple[str, str]]:
    above: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        match = COMMENTED.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        above = [(depth, key) for depth, key in above if depth < indent]
        if match["comment"]:
            yield prefix + ".".join([*(key for _, key in above), match["key"]]), match["comment"]
        above.append((indent, match["key"]))


def _yaml(value: object) -> str:
    """A value on one line, as it may be typed behind -S key=."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return value if isinstance(value, str) else json.dumps(value)
