"""encode_prompts: what diffusers' own pipeline says of a prompt, once for each, and found again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from closure import ROOT, closure
from inpaint.toy import contents, runtime
from visage.errors import ConfigError, DataError, MissingWeightsError
from visage.export.weights import load_safetensors, write_safetensors
from visage.inpaint.diffusion_config import Prompts
from visage.inpaint.encode_prompts import encode_prompts
from visage.inpaint.prompt import prompt
from visage.inpaint.prompt_cache import CACHE, EMPTY, open_encoders, read_prompts
from visage.inpaint.prompt_work import CODE, PromptWork, prompt_item
from visage.inpaint.record import METADATA, Row, stored_row
from visage.inpaint.text_encoders import (
    END,
    TextEncoders,
    build_tokenizer,
    find_weights,
    known_words,
    load_text_encoders,
    new_text_encoders,
)
from visage.io.atomic import write_jsonl

WAVY, STRAIGHT = (prompt({"length": "bob", "natural-curl": curl, "color": "black"}) for curl in ("wavy", "straight"))
LONG = prompt({"bang": "other (men's down)", "curl": "S3", "basestyle": "soft two-block dandy"})
SETTINGS = Prompts("new", None, 16, 2, 2)


@pytest.fixture(scope="module")
def encoders() -> TextEncoders:
    return new_text_encoders(SETTINGS)


@pytest.fixture
def weights(encoders: TextEncoders, tmp_path: Path) -> Path:
    """A folder in SDXL's layout."""
    folder = tmp_path / "data/raw/weights/sdxl"
    encoders.save(folder)
    return folder


def rows(folder: Path, prompts: Sequence[str]) -> None:
    """A prepared set of which only the prompts matter."""
    one = Row(
        "a", "VS000001", "train", "a.jpg", "i", "b", "m", "h", "s", "e", "none", "off", [], 0, WAVY, 1, 1, None, "none",
        0.2, 0.3,
    )  # fmt: skip
    rows = [replace(one, id=str(number), text_prompt=text) for number, text in enumerate(prompts)]
    write_jsonl(folder / "data" / METADATA, map(stored_row, rows))


def run(folder: Path, patch: pytest.MonkeyPatch, settings: Prompts = SETTINGS) -> dict:
    patch.setenv("DVC_ROOT", str(folder))
    encode_prompts(settings, runtime(), data=folder / "data", out=folder / "out", metrics=folder / "metrics.json")
    return json.loads((folder / "metrics.json").read_text())


def computed(folder: Path) -> int:
    """How many prompts all runs in `folder` encoded."""
    return sum(json.loads(path.read_text())["computed"] for path in folder.rglob("[!.]*.done"))


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompts")
    rows(folder, [WAVY, STRAIGHT, WAVY, LONG, WAVY])
    with pytest.MonkeyPatch.context() as patch:
        run(folder, patch)
    return folder


def test_an_encoding_is_what_the_pipeline_of_diffusers_gives(encoders: TextEncoders) -> None:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    (tokenizer, tokenizer_2), (text_encoder, text_encoder_2) = encoders.tokenizers, encoders.encoders
    pipeline = StableDiffusionXLPipeline(
        None, text_encoder, text_encoder_2, tokenizer, tokenizer_2, None, EulerDiscreteScheduler()
    )
    prompts = [WAVY, LONG, " ".join(["curly"] * 100)]
    tokens, pooled = encoders.encode([*prompts, EMPTY])
    assert (tokens.shape, pooled.shape) == ((4, 77, 32), (4, 32))
    assert tokens.dtype == pooled.dtype == np.float32
    for row, text in enumerate(prompts):
        theirs = pipeline.encode_prompt(text, device="cpu", negative_prompt=EMPTY)
        ours = (tokens[row], tokens[3], pooled[row], pooled[3])
        for mine, other in zip(ours, theirs, strict=True):
            assert np.array_equal(mine, other[0].detach().numpy())


def test_every_known_word_is_one_token(encoders: TextEncoders) -> None:
    tokenizer = encoders.tokenizers[0]
    cutter = tokenizer.backend_tokenizer
    for text in [*known_words(), WAVY, LONG]:
        words = [word for word, _ in cutter.pre_tokenizer.pre_tokenize_str(cutter.normalizer.normalize_str(text))]
        assert tokenizer.tokenize(text) == [f"{word}</w>" for word in words]
    for text in ("zebra q Q", "café 日本", "\N{GRINNING FACE}"):  # letters of words that nobody listed
        assert END not in tokenizer.tokenize(text)
    assert encoders.length("bob wavy") == 4
    assert build_tokenizer(["b a", "a b"]).get_vocab() == build_tokenizer(["a b"]).get_vocab()


def test_another_word_is_another_code() -> None:
    encoders = new_text_encoders(replace(SETTINGS, width=32))  # the default
    tokens, pooled = encoders.encode([WAVY, STRAIGHT])
    one, other = (encoders.tokenizers[0](text).input_ids for text in (WAVY, STRAIGHT))
    (place,) = [place for place, (word, another) in enumerate(zip(one, other, strict=True)) if word != another]
    assert cosine(*tokens[:, place]) < 0.5
    assert np.array_equal(tokens[0, :place], tokens[1, :place])
    assert cosine(*pooled) < 0.99


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_company_in_a_batch_changes_no_bit(encoders: TextEncoders) -> None:
    together, pooled = encoders.encode([WAVY, LONG, EMPTY])
    alone, pooled_alone = encoders.encode([LONG])
    assert np.array_equal(together[1], alone[0])
    assert np.array_equal(pooled[1], pooled_alone[0])


def test_the_small_encoders_are_a_function_of_the_settings(encoders: TextEncoders) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    again = new_text_encoders(SETTINGS)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(again.encode([LONG])[0], encoders.encode([LONG])[0])
    assert new_text_encoders(replace(SETTINGS, width=32)).encode([LONG])[1].shape == (1, 64)


def test_prompts_are_encoded_once_and_found_again(encoded: Path, encoders: TextEncoders) -> None:
    assert computed(encoded) == 4
    assert json.loads((encoded / "metrics.json").read_text()) == {
        "rows": 5, "distinct_prompts": 3, "width": 32, "pooled_width": 32, "truncated_prompts": 0,
        "longest_tokens": encoders.length(LONG), "source": "new: random",
    }  # fmt: skip
    cache = read_prompts(encoded / "out")
    for text in (WAVY, STRAIGHT, LONG, EMPTY):
        (tokens,), (pooled,) = encoders.encode([text])
        found, found_pooled = cache.get(text)
        assert found.dtype == found_pooled.dtype == torch.float32
        assert np.array_equal(found.numpy(), tokens.astype(np.float16))
        assert np.array_equal(found_pooled.numpy(), pooled)
    (again,), _ = open_encoders(encoded / "out").encode(["a prompt that somebody typed"])
    assert np.array_equal(again, encoders.encode(["a prompt that somebody typed"])[0][0])


def test_an_edited_prompt_alone_is_encoded_again(
    encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(encoded, tmp_path, dirs_exist_ok=True)
    rows(tmp_path, [WAVY, "an edited prompt", WAVY, LONG])
    assert run(tmp_path, monkeypatch)["distinct_prompts"] == 3
    assert computed(tmp_path) == 4 + 1
    before, after = read_prompts(encoded / "out"), read_prompts(tmp_path / "out")
    assert torch.equal(before.get(LONG)[0], after.get(LONG)[0])
    with pytest.raises(DataError, match=r"prompt '.*straight.*' is not encoded: run encode_prompts again"):
        after.get(STRAIGHT)


def test_another_store_gives_the_same_bytes(encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(tmp_path, [LONG, WAVY, STRAIGHT])  # other pictures in another order
    run(tmp_path, monkeypatch, replace(SETTINGS, prompts_per_job=3))
    assert contents(tmp_path / "out") == contents(encoded / "out")


def test_weights_of_a_folder_are_used_as_they_are(
    encoded: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(tmp_path, [WAVY, STRAIGHT, LONG])
    monkeypatch.chdir(tmp_path)
    path = str(weights.relative_to(tmp_path))
    assert run(tmp_path, monkeypatch, replace(SETTINGS, source="file", path=path))["source"] == f"file: {path}"
    assert (tmp_path / "out" / CACHE).read_bytes() == (encoded / "out" / CACHE).read_bytes()
    assert not (tmp_path / "out/encoders").exists()
    open_encoders(tmp_path / "out")
    new_text_encoders(replace(SETTINGS, layers=1)).save(weights)
    with pytest.raises(DataError, match=r"text_encoder/config\.json: not the file that .*encoders\.json tells of"):
        open_encoders(tmp_path / "out")


def test_weights_that_the_pipeline_does_not_watch_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = r"^prompts\.path=sdxl: put or link the file into data/raw/weights/, which the pipeline watches$"
    with pytest.raises(ConfigError, match=pattern):
        run(tmp_path, monkeypatch, replace(SETTINGS, source="file", path="sdxl"))


def test_the_names_of_sdxl_s_own_files_are_understood(encoders: TextEncoders, weights: Path) -> None:
    for name in ("tokenizer", "tokenizer_2"):
        whole = weights / name / "tokenizer.json"
        model = json.loads(whole.read_text())["model"]
        (weights / name / "vocab.json").write_text(json.dumps(model["vocab"]))
        merges = "".join(f"{first} {second}\n" for first, second in model["merges"])
        (weights / name / "merges.txt").write_text("#version: 0.2\n" + merges)
        whole.unlink()
    for name in ("text_encoder", "text_encoder_2"):
        file = weights / name / "model.safetensors"
        state = {
            f"text_model.{key.removeprefix('text_model.')}": value for key, value in load_safetensors(file)[0].items()
        }
        if name == "text_encoder_2":
            state["text_projection.weight"] = state.pop("text_model.text_projection.weight")
        write_safetensors(file, state | {"text_model.embeddings.position_ids": torch.arange(77)[None]})
    loaded = load_text_encoders(weights)
    for one, other in zip(loaded.encode([WAVY, LONG]), encoders.encode([WAVY, LONG]), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "name", ["tokenizer/tokenizer.json", "text_encoder/config.json", "text_encoder_2/model.safetensors"]
)
def test_a_file_that_is_not_there_is_named(weights: Path, name: str) -> None:
    (weights / name).unlink()
    with pytest.raises(
        MissingWeightsError, match=r"is not there: bring .*stable-diffusion-xl-base-1\.0.*prompts\.path"
    ):
        find_weights("file", str(weights))


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fail(*_: object, **__: object) -> None:
        raise LocalEntryNotFoundError("many\nlines") from ConnectionError()

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(
        MissingWeightsError, match=r"^prompts\.path=some/where: cannot be downloaded \(ConnectionError;.*$"
    ):
        find_weights("hub", "some/where")


def test_a_foreign_checkpoint_is_refused(encoders: TextEncoders, weights: Path, capfd: pytest.CaptureFixture) -> None:
    file = weights / "text_encoder/model.safetensors"
    state, _ = load_safetensors(file)
    norm = next(name for name in state if name.endswith("final_layer_norm.bias"))
    faults = {
        "final_layer_norm.bias": {name: value for name, value in state.items() if name != norm},
        "extra": state | {"extra": torch.zeros(2)},
        "final_layer_norm": state | {norm: torch.zeros(3)},
    }
    for message, faulty in faults.items():
        write_safetensors(file, faulty)
        with pytest.raises(DataError, match=f"text_encoder.* CLIPTextModel .*{message}"):
            load_text_encoders(weights)
    file.write_bytes(b"no safetensors")
    with pytest.raises(DataError, match=r"text_encoder: no CLIPTextModel"):
        load_text_encoders(weights)
    encoders.save(weights)
    shutil.copy(file, weights / "text_encoder_2/model.safetensors")  # the first encoder in place of the second
    with pytest.raises(DataError, match=r"text_encoder_2.*text_projection"):
        load_text_encoders(weights)
    encoders.save(weights)
    (weights / "tokenizer_2/tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="a tokenizer that is not CLIP's"):
        load_text_encoders(weights)
    assert capfd.readouterr().err == ""


def test_an_encoding_beyond_float16_names_its_prompt(weights: Path) -> None:
    file = weights / "text_encoder/model.safetensors"
    state, _ = load_safetensors(file)
    write_safetensors(file, {name: value * (1e6 if "token_emb" in name else 1) for name, value in state.items()})
    compute = PromptWork(SETTINGS, weights, {}, (), "cpu").open()
    with pytest.raises(DataError, match=f"^prompt '{WAVY}': its encoding is beyond float16"):
        compute([prompt_item(WAVY)])


def test_what_is_no_cache_is_one_line(encoded: Path, tmp_path: Path) -> None:
    for reader in (read_prompts, open_encoders):
        with pytest.raises(DataError, match=r"is not there: run encode_prompts again"):
            reader(tmp_path)
    shutil.copy(encoded / "out/encoders/text_encoder/model.safetensors", tmp_path / CACHE)
    with pytest.raises(DataError, match=r"not encoded prompts, or damaged: run encode_prompts again"):
        read_prompts(tmp_path)
    with pytest.raises(ConfigError, match=r"prompts\.path"):
        replace(SETTINGS, source="file").check()


def test_every_module_that_decides_an_encoding_is_part_of_the_version() -> None:
    used = {name.removeprefix("src/visage/") for name in closure(ROOT / "src/visage/inpaint/prompt_work.py")}
    # Parameters and known words are part of the identity themselves; of the cache work takes the names of arrays; the
    # others handle files, jobs and checkpoints.
    others = ("export/card.py", "export/weights.py", "inpaint/diffusion_config.py", "inpaint/prompt.py",
              "inpaint/prompt_cache.py", "io/", "jobs/", "runtime.py", "training/", "vision/")  # fmt: skip
    assert {name for name in used if not name.startswith(others)} == set(CODE)
