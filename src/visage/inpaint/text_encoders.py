"""SDXL's pair of text encoders with their tokenizers: a prompt -> what the inpainting network reads.

The small ones of source "new" are of the same classes and go through the same lines, so what is tested with them holds
for SDXL's. They are random and frozen: every word has its own fixed code, and nothing else is known of language.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from visage.errors import ConfigError, DataError, MissingWeightsError
from visage.export.local_model import load_local
from visage.export.weights import plain_state, write_safetensors
from visage.inpaint.diffusion_config import Prompts
from visage.inpaint.prompt import prompt
from visage.io.atomic import sha256_file, write_text
from visage.io.khairstyle_vocabulary import VOCABULARY

TOKENS = 77  # of a prompt, with its start, its end and the padding
TOKENIZERS, ENCODERS = ("tokenizer", "tokenizer_2"), ("text_encoder", "text_encoder_2")
CONFIG, WEIGHTS = "config.json", "model.safetensors"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
# Read by a tokenizer: one file, or the two of SDXL's repository.
WHOLE, PARTS = "tokenizer.json", ("vocab.json", "merges.txt")
START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
SEED = 0  # of the small encoders, not the run's: a word keeps its code
# With transformers' 0.02 for both, what a layer adds drowns the words: "straight" and "curly" in one place had a cosine
# of 0.94, and have 0.0 with these. The code of the end, where the pooled vector is read, is zero for the same reason:
# prompts that differ in a word have 0.95 there, and 0.999 with a code for the end.
WORD_STD, POSITION_STD = 1.0, 0.1
HEAD = 8  # width of an attention head of the small encoders


@dataclass(frozen=True)
class TextEncoders:
    """Two tokenizers and their encoders, which are in evaluation mode."""

    tokenizers: tuple[CLIPTokenizer, CLIPTokenizer]
    encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection]

    def encode(self, prompts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """N prompts, at least one -> tokens (N, 77, D) and pooled (N, P), both float32.

        As StableDiffusionXLPipeline.encode_prompt of diffusers does it: padded and cut to 77 tokens, the states before
        the last layer of both encoders side by side, and the second one's projected end of text. One prompt at a time,
        since another batch is another kernel, and a prompt's bits would depend on its company.
        """
        tokens, pooled = [], []
        with torch.inference_mode():
            for text in prompts:
                states = []
                for tokenizer, encoder in zip(self.tokenizers, self.encoders, strict=True):
                    cut = tokenizer(text, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
                    answer = encoder(cut.input_ids.to(encoder.device), output_hidden_states=True)
                    states.append(answer.hidden_states[-2])
                tokens.append(torch.cat(states, dim=-1)[0].cpu().numpy())
                pooled.append(answer.text_embeds[0].cpu().numpy())
        return np.stack(tokens), np.stack(pooled)

    def length(self, text: str) -> int:
        """How many tokens a prompt has before it is padded or cut, its start and its end among them."""
        return max(len(tokenizer(text, verbose=False).input_ids) for tokenizer in self.tokenizers)

    def save(self, folder: Path) -> None:
        """Write all of it below `folder` in the layout of SDXL's repository: equal encoders, equal bytes."""
        for tokenizer, name in zip(self.tokenizers, TOKENIZERS, strict=True):
            tokenizer.save_pretrained(folder / name)
        for encoder, name in zip(self.encoders, ENCODERS, strict=True):
            write_text(folder / name / CONFIG, encoder.config.to_json_string())
            write_safetensors(folder / name / WEIGHTS, plain_state(encoder))


def find_weights(source: str, path: str | None) -> Path | None:
    """The folder with the weights of prompts.source and prompts.path, downloaded for "hub"; None for "new".

    Raises:
        MissingWeightsError: they are not there, and cannot be downloaded.
    """
    if source == "new":
        return None
    folder = _snapshot(str(path)) if source == "hub" else Path(str(path))
    weight_files(folder)
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The files in `folder` that decide what its encoders say.

    Raises:
        MissingWeightsError: one is not there.
    """
    files = [folder / name / file for name in ENCODERS for file in (CONFIG, WEIGHTS)]
    for name in TOKENIZERS:
        files += [folder / name / file for file in ((WHOLE,) if (folder / name / WHOLE).is_file() else PARTS)]
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise MissingWeightsError(
            f"{missing} is not there: bring {', '.join(TOKENIZERS + ENCODERS)} of {SDXL} from huggingface.co into one "
            "folder, and set prompts.path to it (with prompts.source=file)"
        )
    # Beside the vocabulary, these say how a tokenizer pads.
    others = (folder / name / "tokenizer_config.json" for name in TOKENIZERS)
    return sorted([*files, *(file for file in others if file.is_file())])


def checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each of `weight_files`, by its path in `folder`.

    Raises:
        MissingWeightsError: one is not there.
    """
    return {file.relative_to(folder).as_posix(): sha256_file(file) for file in weight_files(folder)}


def _snapshot(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    wanted = [f"{name}/{file}" for name in ENCODERS for file in (CONFIG, WEIGHTS)]
    wanted += [f"{name}/{kind}" for name in TOKENIZERS for kind in ("*.json", "*.txt")]
    try:
        return Path(snapshot_download(repository, allow_patterns=wanted))
    except (HfHubHTTPError, OSError, ValueError) as error:
        # The hub's own text has many lines; the kind of the cause says most of it.
        raise MissingWeightsError(
            f"prompts.path={repository}: cannot be downloaded ({type(error.__cause__ or error).__name__}; no network, "
            f"no such repository, or no access?): give a repository such as {SDXL}, or set prompts.source=file and "
            "prompts.path to a copy of it"
        ) from None


def load_text_encoders(folder: Path, device: str = "cpu") -> TextEncoders:
    """The text encoders of a folder in SDXL's layout, from safetensors alone, every tensor in its place.

    Raises:
        MissingWeightsError: a file is not there.
        DataError: a file is of another kind.
        ConfigError: there is no such device.
    """
    weight_files(folder)
    try:
        tokenizers = [CLIPTokenizer.from_pretrained(folder / name, local_files_only=True) for name in TOKENIZERS]
    except Exception as error:  # the parser of tokenizers has no kinds
        why = " ".join(str(error).split())[:160]
        raise DataError(f"{folder}: a tokenizer that is not CLIP's ({why}): take {SDXL}'s") from None
    kinds = (CLIPTextModel, CLIPTextModelWithProjection)
    encoders = [load_local(kind, folder / name, f"{SDXL}'s {name}") for kind, name in zip(kinds, ENCODERS, strict=True)]
    return _on(device, tokenizers, encoders)


def new_text_encoders(settings: Prompts, device: str = "cpu") -> TextEncoders:
    """Small random encoders with D = P = 2 * prompts.width, which `settings` alone decide.

    Random features: words have distinct and fixed codes, and no word is nearer to its synonym than to its opposite.

    Raises:
        ConfigError: there is no such device.
    """
    tokenizer = build_tokenizer(known_words())
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=4 * settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.width // HEAD,
        max_position_embeddings=TOKENS,
        projection_dim=2 * settings.width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        encoders = [CLIPTextModel(config), CLIPTextModelWithProjection(config)]
        for encoder in encoders:
            for name, weight in encoder.named_parameters():
                if name.endswith("token_embedding.weight"):
                    nn.init.normal_(weight, std=WORD_STD)
                    weight.data[tokenizer.eos_token_id] = 0
                elif name.endswith("position_embedding.weight"):
                    nn.init.normal_(weight, std=POSITION_STD)
    return _on(device, (tokenizer, tokenizer), encoders)


def _on(device: str, tokenizers: Any, encoders: Sequence[nn.Module]) -> TextEncoders:
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("runtime.device=cuda, but torch sees no GPU here: use runtime.device=cpu")
    first, second = (encoder.eval().requires_grad_(False).to(device) for encoder in encoders)
    return TextEncoders(tuple(tokenizers), (first, second))  # type: ignore[arg-type]


def known_words() -> list[str]:
    """The English of K-Hairstyle's labels and the sentence around it, sorted."""
    words = {word for field in VOCABULARY.values() for word in field.values()}
    return sorted({*words, prompt(dict.fromkeys(("curl", "hair-width", "bang"), ""))})


def build_tokenizer(texts: Iterable[str]) -> CLIPTokenizer:
    """A CLIP tokenizer with one token for each word of `texts`, words as CLIP cuts them (at hyphens, digits and signs).

    Other words become their letters, or parts that known words share. No trainer makes it: that of `tokenizers` numbers
    letters in the order of a hash table.
    """
    cutter = CLIPTokenizer().backend_tokenizer
    words = {
        word
        for text in texts
        for word, _ in cutter.pre_tokenizer.pre_tokenize_str(cutter.normalizer.normalize_str(text))
    }
    # Pairs to join, the earlier ones first. A pair that is added for a word comes after all that older words need, so
    # it never cuts into one of those.
    ranks: dict[tuple[str, str], int] = {}
    for word in sorted(words):
        parts = [*word[:-1], word[-1] + WORD_END]
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            pair = min((pair for pair in pairs if pair in ranks), key=ranks.__getitem__, default=pairs[0])
            ranks.setdefault(pair, len(ranks))
            place = pairs.index(pair)
            parts[place : place + 2] = ["".join(pair)]
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + WORD_END for letter in letters), *map("".join, ranks), START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    merges: Any = list(ranks)  # annotated as text in transformers
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)
