"""The words of K-Hairstyle's labels, Korean to English and back, for each field by itself.

One dictionary for all fields would be wrong: a word means different things in different fields, such as the one that is
"normal" for a hair's width, and a translation that fits one field silently mislabels another.
"""

import json
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

from visage.errors import ConfigError

# The words of each field, Korean to English; fields are spelled with hyphens, labels have some with underscores.
DICTIONARY = Path(__file__).parents[3] / "conf" / "mapping_dict.json"
# Compared in lower case.
EMPTY = {"", "nan", "none", "null", "na", "n/a"}


@cache
def load_dictionary(path: Path = DICTIONARY) -> Mapping[str, Mapping[str, str]]:
    """The words of `path`, {field: {Korean: English}}.

    Raises:
        ConfigError: no such file, or it is something else; the message names the field.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(f"{path}: no dictionary there: take it back from git") from None
    except ValueError as error:
        raise ConfigError(f"{path}: no JSON ({error}): mend it") from None
    if not isinstance(stored, dict):
        raise ConfigError(f"{path}: it must hold {{field: {{Korean: English}}}}")
    for field, words in stored.items():
        if not isinstance(words, dict) or not all(isinstance(word, str) and word.strip() for word in words.values()):
            raise ConfigError(f"{path}: {field} must hold {{Korean: English}}, every English word a text")
    return stored


VOCABULARY = load_dictionary()


@lru_cache(maxsize=1024)
def to_english(field: str, value: str) -> str | None:
    """The English of `value` in `field` of `VOCABULARY`; None for a word the field does not have.

    Hangul may come decomposed, as macOS writes it; case and the blanks around are ignored.
    """
    words = {_plain(korean): english for korean, english in VOCABULARY[field].items()}
    return words.get(_plain(value))


def to_korean(field: str, english: str) -> str:
    """What a label writes for `english` in `field`, both of `VOCABULARY` (KeyError if not)."""
    return {word: korean for korean, word in VOCABULARY[field].items()}[english]


def is_empty(value: object) -> bool:
    """Whether a label's value stands for nothing: null, a float NaN, or one of the empty markers."""
    return value is None or value != value or (isinstance(value, str) and value.strip().casefold() in EMPTY)


def style_folder(korean: str) -> str:
    """The folder of a basestyle: "0001.가르마" for the first."""
    return f"{list(VOCABULARY['basestyle']).index(korean) + 1:04d}.{korean}"


def _plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFC", text).split()).casefold()
