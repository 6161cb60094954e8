"""The page of commands: the help of `visage` and of everything below it, from the definitions themselves."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from visage.cli import app
from visage.reference.prose import as_markdown


def commands(command: Any = None, name: str = "visage") -> Iterator[tuple[str, Any]]:
    """Every command that can be called, with its full name; groups that do nothing by themselves are left out."""
    command = command or get_command(app)
    if not isinstance(command, TyperGroup) or command.invoke_without_command:
        yield name, command
    if isinstance(command, TyperGroup):
        for key, inner in command.commands.items():
            yield from commands(inner, f"{name} {key}")


def page() -> str:
    """The page, in Markdown."""
    lines = [
        "# The visage command",
        "",
        "What `visage --help` and `visage COMMAND --help` say. A mistake ends with one line and exit code 2.",
    ]
    for name, command in commands():
        context = typer.Context(command, info_name=name)
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        lines += ["", f"## {name}", "", as_markdown(command.help or "").strip(), "", "```text", usage, "```"]
        if command.params:
            lines += ["", "| argument or option | meaning | default |", "|---|---|---|", *map(_row, command.params)]
    return "\n".join(lines) + "\n"


def _row(parameter: Any) -> str:
    shown = ", ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.name.upper()
    default = "" if parameter.default in (None, False) else f"`{parameter.default}`"
    return f"| `{shown}` | {as_markdown(parameter.help or '')} | {default} |"
