"""What applications and the command line import to use exported models: `from visage.serving import Segmenter`.

Names are looked up when they are first asked for (PEP 562), so that importing the package loads nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visage.serving.cache import ModelCache
    from visage.serving.recolor import recolor_file
    from visage.serving.segmenter import Segmenter
    from visage.serving.store import OutputStore
    from visage.serving.tryon import try_on

__all__ = ["ModelCache", "OutputStore", "Segmenter", "recolor_file", "try_on"]
PLACES = dict(zip(__all__, ("cache", "store", "segmenter", "recolor", "tryon"), strict=True))


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
