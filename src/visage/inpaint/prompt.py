"""The sentence and the labels of a picture, from K-Hairstyle's fields in English.

Labels come from the fields that an annotator filled in, never from the sentence: a word search in it once gave nearly
every picture one class.
"""

from collections.abc import Mapping

from visage.io.hair_frames import Attribute

CURLS = ("straight", "wavy", "curly", "tightly curly")
VOLUMES = ("thin", "normal", "thick")
CURL_FIELD, VOLUME_FIELD = "natural-curl", "hair-width"
MISSING = -1  # a label that the record does not have; every loss leaves it out
# What says that something is not there says nothing to an image.
SILENT = {"n/a", "none", "other"}


def labels(attributes: Mapping[str, Attribute]) -> tuple[int, int]:
    """The numbers of a picture's curl (of `CURLS`) and volume (of `VOLUMES`); -1 where the record has none."""
    return _number(CURLS, attributes.get(CURL_FIELD)), _number(VOLUMES, attributes.get(VOLUME_FIELD))


def prompt(attributes: Mapping[str, Attribute]) -> str:
    """The English description, such as "high quality, realistic bob thick volume black wavy one-length hairstyle with
    full bangs, detailed hair texture"; what is not known is left out."""
    words = {field: str(word) for field, word in attributes.items() if isinstance(word, str) and word not in SILENT}
    curl = words.get(CURL_FIELD) or (f"{words['curl']}-curl" if "curl" in words else "")
    volume = f"{words[VOLUME_FIELD]} volume" if VOLUME_FIELD in words else ""
    parts = (words.get("length"), volume, words.get("color"), curl, words.get("basestyle"), "hairstyle")
    described = " ".join(part for part in parts if part)
    bangs = f", with {words['bang']} bangs" if "bang" in words else ""
    return f"high quality, realistic {described}{bangs}, detailed hair texture"


def _number(names: tuple[str, ...], word: object) -> int:
    return names.index(word) if isinstance(word, str) and word in names else MISSING
