"""Proposals for words that the dictionary lacks: from a person's file, or by a local translation model."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from visage.errors import ConfigError, DataError, MissingWeightsError
from visage.io.khairstyle_check import check_tree


def proposals(root: Path, dictionary: Path | None, model: Path | None) -> list[str]:
    """The words of the tree below `root` that conf/mapping_dict.json lacks, as entries for a person to review: lines.

    dictionary: a file of translations; model: the folder of a translation model, asked for what the file lacks.

    Raises:
        VisageError: the tree, the file or the model cannot be used.
    """
    unknown = check_tree(root).unknown
    if not unknown:
        return ["conf/mapping_dict.json has every word"]
    found = read_translations(dictionary) if dictionary else {}
    entries = propose(unknown, found)
    if model:
        entries = propose(unknown, found | translate(model, lacking(entries)))
    left = len(lacking(entries))
    return [
        json.dumps(entries, ensure_ascii=False, indent=2),
        f"{len(unknown)} words, {left} of them without a proposal: review, then add them to conf/mapping_dict.json",
    ]


def propose(unknown: Iterable[str], translations: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Entries for conf/mapping_dict.json, {field: {Korean: English}}, for words "field=word" that `translations` has,
    either so or as "word"; an empty text for the others: nothing is guessed."""
    entries: dict[str, dict[str, str]] = {}
    for key in sorted(unknown):
        name, _, word = key.partition("=")
        entries.setdefault(name, {})[word] = translations.get(key) or translations.get(word, "")
    return entries


def lacking(entries: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The words without a translation, as "field=word"."""
    return [f"{name}={word}" for name, words in entries.items() for word, english in words.items() if not english]


def read_translations(path: Path) -> dict[str, str]:
    """A JSON file of {"word": "English"} or {"field=word": "English"}.

    Raises:
        DataError: no such file, or something else in it.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}): give {{word: English}}") from None
    if not isinstance(stored, dict) or not all(isinstance(value, str) for value in stored.values()):
        raise DataError(f"{path}: give {{word: English}}, every value a text")
    return stored


def translate(folder: Path, keys: Sequence[str]) -> dict[str, str]:
    """English for "field=word" keys by the Korean-English model of transformers (such as opus-mt-ko-en) in `folder`.

    Nothing is downloaded.

    Raises:
        MissingWeightsError: no such folder.
        ConfigError: transformers is not installed.
        DataError: the folder holds no such model.
    """
    if not folder.is_dir():
        raise MissingWeightsError(f"{folder}: no translation model there: bring one, such as opus-mt-ko-en")
    try:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer  # type: ignore[import-not-found]
    except ImportError:
        raise ConfigError("--model needs transformers: pip install transformers sentencepiece") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForSeq2SeqLM.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: no translation model of transformers ({str(error).splitlines()[0]})") from None
    words = [key.partition("=")[2] for key in keys]
    batch = tokenizer(words, return_tensors="pt", padding=True)
    texts = tokenizer.batch_decode(model.generate(**batch, max_new_tokens=24), skip_special_tokens=True)
    return {key: text.strip().rstrip(".").lower() for key, text in zip(keys, texts, strict=True)}
