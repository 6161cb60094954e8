"""Docstrings are prose with `code` in backticks, not Markdown: what Markdown would read into them is escaped."""

import re
from typing import Any

import griffe

# Emphasis, HTML, links. Underscores stay: inside words they mean nothing, and sections name arguments with them.
MARKUP = re.compile(r"(`[^`]*`)|([*<\[|])")


def as_markdown(text: str) -> str:
    """Markdown that shows `text` as it is written, what stands in backticks as code."""
    return MARKUP.sub(lambda match: match[1] or f"\\{match[2]}", text)


class Prose(griffe.Extension):
    """Tells mkdocstrings so, for every docstring (mkdocs.yml)."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Escape the docstring of what was just read."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
