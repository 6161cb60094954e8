"""Values on their way out of a run: Python numbers, flat dotted names, and no credentials.

Everything a tracker stores or sends passes through here first, because a database row or a server is read by more
people than the shell in which a password was typed.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

HIDDEN = "[hidden]"

_USERINFO = re.compile(r"(?<=://)[^/\s'\"]+@")
_SECRET = re.compile(
    r"(?:^|[_.\-])(?:token|password|passwd|secret|credentials?|api[_-]?key|access[_-]?key)$", re.IGNORECASE
)
# By the last word of the name: `epoch_seconds`, `train/images_per_second`, `peak_memory_mb`.
_DIFFERS_BY_NATURE = re.compile(
    r"(?:^|[_/.])(?:seconds|minutes|hours|time|duration|eta|per_second|per_minute|throughput|ips|memory|rss|[mg]i?b"
    r"|host|device|date|timestamp)$"
)
_LOWER_IS_BETTER = frozenset(
    {"loss", "error", "mse", "rmse", "mae", "lpips", "ece", "brier", "fid", "nll", "perplexity", "distance", "eer"}
)


def plain(value: Any) -> Any:
    """A JSON value for `value`: torch and numpy scalars become numbers, sequences lists, anything else its text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(item) for item in value]
    return value.item() if getattr(value, "size", None) == 1 or _is_scalar_tensor(value) else str(value)


def plain_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Every value as a float; raises TypeError or ValueError, as `float` does, where one is no number."""
    return {str(name): float(value) for name, value in values.items()}


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and dataclasses as one mapping with dotted names; lists stay values."""
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        tree = {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
    if not isinstance(tree, Mapping):
        return {prefix: plain(tree)}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def redact(text: str) -> str:
    """`text` without the user and password of any address in it."""
    return _USERINFO.sub("", text)


def hide(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`flat` with the values of names such as `api_key` or `hub.token` hidden, and addresses without userinfo."""
    return {name: HIDDEN if _SECRET.search(name) else _redact_any(value) for name, value in flat.items()}


def hide_arguments(arguments: Iterable[str]) -> str:
    """A command line as one text: `x.token=abc` and `--token abc` hidden, addresses without userinfo."""
    shown: list[str] = []
    secret = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        is_secret = bool(_SECRET.search(name))
        shown.append(HIDDEN if secret else f"{name}={HIDDEN}" if is_secret and equals else redact(argument))
        secret = is_secret and not equals and name.startswith("-")
    return " ".join(shown)


def to_json(values: Mapping[str, Any]) -> str:
    """`values` as compact JSON; NaN and infinity, which JSON lacks, become null."""
    return json.dumps(_finite(values), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def differs_by_nature(name: str) -> bool:
    """Whether two runs of the same code differ in the value of that name: a time, a rate, memory, a host."""
    return bool(_DIFFERS_BY_NATURE.search(name))


def is_better(name: str, new: float, old: float) -> bool:
    """Whether `new` beats `old`: lower for a loss, an error or a distance, higher for anything else; NaN never wins."""
    if math.isnan(new):
        return False
    lower = not _LOWER_IS_BETTER.isdisjoint(re.split(r"[_/.\-]", name.lower()))
    return math.isnan(old) or (new < old if lower else new > old)


def _is_scalar_tensor(value: Any) -> bool:
    return hasattr(value, "numel") and value.numel() == 1


def _redact_any(value: Any) -> Any:
    if isinstance(value, list):
        return [_redact_any(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
