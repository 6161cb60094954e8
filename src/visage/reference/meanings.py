"""What a dataclass's docstring says about each of its fields.

The docstrings are prose, not tables: "height, width: pixels of the frames. train, val, test: shares of the subjects."
Prose stays readable beside the code, and this form is all that is asked of it.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields

# Said once, because they mean the same in every section that has them; a docstring that says more goes before.
COMMON = {
    "name": "name of the data set",
    "root": "folder of the data set; the stages that read it depend on what is in it",
    "epochs": "passes over the training samples",
    "batch_size": "samples in one step of the optimizer, those of all processes together",
    "micro_batch": "samples in one forward pass: fewer need less memory, the batch stays what it is by accumulation",
    "lr": "learning rate of this trainer",
    "weight_decay": "decoupled weight decay of AdamW",
    "early_stop": "epochs without a better one after which training ends, 0 for never",
}


def introduction(cls: type) -> str:
    """What the docstring of the dataclass `cls` says before it comes to its fields, on one line; may be empty."""
    text = _text(cls)
    first = next(_starts(text, _names(cls)), None)
    return text[: first.start() if first else None].strip()


def meanings(cls: type) -> dict[str, str]:
    """The meaning of each field of the dataclass `cls` that its docstring or `COMMON` knows, by the field's name."""
    text, names = _text(cls), _names(cls)
    starts = list(_starts(text, names))
    ends = [match.start() for match in starts[1:]] + [len(text)] * bool(starts)
    found: dict[str, str] = {}
    for match, end in zip(starts, ends, strict=True):
        meaning = text[match.end() : end].strip(" ,;.")
        found |= dict.fromkeys(re.split(r", | and ", match["named"]), meaning)
    said = dict(found)
    for name in names:
        # source: "new", or "file" (`path`).
        others = [other for other, meaning in said.items() if f"`{name}`" in meaning]
        if name not in found and others:
            found[name] = f"see `{others[0]}`"
        elif name not in found and name in COMMON:
            found[name] = COMMON[name]
        elif name not in found and f"`{name}`" in introduction(cls):
            sentences = re.split(r"(?<=[.;]) ", introduction(cls))
            found[name] = next(one for one in sentences if f"`{name}`" in one).strip(" ;.")
    return found


def _names(cls: type) -> list[str]:
    return [field.name for field in fields(cls)]


def _text(cls: type) -> str:
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split())


def _starts(text: str, names: list[str]) -> Iterator[re.Match[str]]:
    """Where the text comes to fields: "height, width: ..."."""
    one = rf"(?:{'|'.join(sorted(names, key=len, reverse=True))})"
    return re.finditer(rf"(?<![\w.`])(?P<named>{one}(?:(?:, | and ){one})*): ", text)
