"""The embedded hair: K-Hairstyle's layout, the same bytes every time, and read back as it was drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visage.errors import ConfigError
from visage.hair.config import SynthesizeHair
from visage.hair.synthesize import is_cropped, khairstyle_fields, synthesize
from visage.io.hair_frames import HairFrame
from visage.io.khairstyle import parse_record, read_khairstyle
from visage.io.khairstyle_vocabulary import VOCABULARY
from visage.synthetic.people import BANGS, CURLS, HAIR_COLOURS, LENGTHS, PARTINGS, STRANDS, sample_person
from visage.synthetic.wild import WildSpec, draw_wild_one

SIZE = 96


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAGE_WORKERS", "1")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hair")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISAGE_WORKERS", "1")
        synthesize(SynthesizeHair(sources=6, views=2, size=SIZE, wild=0.5, clarity=1.0), seed=5, out=out)
    return out


def test_the_reader_gives_back_what_was_drawn(drawn):
    frames = sorted((load() for load in read_khairstyle(drawn)), key=lambda frame: frame.sample_id)
    assert len(frames) == 12
    for number, frame in enumerate(frames):
        assert isinstance(frame, HairFrame)
        source, view = divmod(number, 2)
        portrait = draw_wild_one(WildSpec(5, source, view, SIZE, 0.5))
        assert (frame.source, frame.sample_id) == (f"VS{source + 1:06d}", f"VS{source + 1:06d}-{view + 1:03d}")
        both, either = (frame.alpha > 0) & (portrait.hair_mask > 0), (frame.alpha > 0) | (portrait.hair_mask > 0)
        assert np.count_nonzero(both) >= 0.97 * np.count_nonzero(either)
        assert np.abs(frame.image.astype(int) - portrait.image).mean() < 6
        words = khairstyle_fields(portrait.attributes, is_cropped(sample_person(5, source).hair))
        assert {name: frame.attributes.get(name) for name in words} == words
        assert frame.attributes["age"] == portrait.attributes["age"]
        assert 0 <= frame.attributes["horizontal"] <= 360
        assert not frame.unknown


def test_every_fifth_source_is_in_validation_and_none_in_both(drawn):
    places = {path.stem[:8]: path.parts[len(drawn.parts)] for path in drawn.rglob("*.jpg")}
    assert sorted(places.items()) == [
        (f"VS{number:06d}", "validation" if number == 5 else "training") for number in range(1, 7)
    ]


def test_labels_are_flat_korean_and_name_no_machine(drawn):
    path = sorted(drawn.rglob("*.json"))[0]
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored["filename"] == path.name.replace("_", "-").replace(".json", ".jpg")
    assert stored["basestyle"] in VOCABULARY["basestyle"] and path.parts[-3].endswith(stored["basestyle"])
    assert (drawn / stored["path"]).is_file()
    assert not any(isinstance(value, dict | list) for value in stored.values())
    assert all(isinstance(stored[name], str) for name in ("polygon1", "polygon2"))
    assert str(drawn) not in path.read_text(encoding="utf-8")
    (face,) = parse_record(path.read_bytes(), path.name).face
    assert face.min() >= 0 and face.max() <= 511


def test_a_second_run_is_the_same_bytes_for_any_worker_count_and_removes_the_first(tmp_path, monkeypatch):
    settings = SynthesizeHair(sources=2, views=2, size=64, wild=0.5, clarity=1.0)

    def content(out: Path) -> dict[str, bytes]:
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    synthesize(settings, seed=1, out=tmp_path / "a")
    synthesize(SynthesizeHair(sources=6, views=1, size=64, wild=0.0, clarity=1.0), seed=2, out=tmp_path / "b")
    monkeypatch.setenv("VISAGE_WORKERS", "2")
    synthesize(settings, seed=1, out=tmp_path / "b")
    assert len(content(tmp_path / "a")) == 8
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_whatever_is_drawn_has_a_word():
    base = {"curl": "wavy", "strand": "thin", "length": "bob", "bangs": "none", "colour": "black", "parting": "none",
            "loss": "none", "sex": "male", "wild": ""}  # fmt: skip
    choices = {
        "curl": CURLS, "strand": STRANDS, "length": LENGTHS, "bangs": BANGS, "colour": tuple(HAIR_COLOURS),
        "parting": PARTINGS, "loss": ("none", "receding", "thinning", "bald"), "sex": ("male", "female"),
    }  # fmt: skip
    for name, values in choices.items():
        for value in values:
            for field, word in khairstyle_fields({**base, name: value}).items():
                assert word in VOCABULARY[field].values(), (field, word)
    assert khairstyle_fields({**base, "length": "short"})["length"] == "men's"
    assert khairstyle_fields({**base, "length": "short", "sex": "female"})["length"] == "women's short"


def test_a_label_says_only_what_its_picture_shows():
    base = {"curl": "wavy", "strand": "thin", "length": "long", "bangs": "full", "colour": "black", "parting": "left",
            "loss": "none", "sex": "female", "wild": "busy"}  # fmt: skip
    plain = khairstyle_fields(base)
    assert (plain["length"], plain["bang"], plain["color"]) == ("long", "full", "black")
    buzz = khairstyle_fields({**base, "wild": "far,buzz,dyed"})
    assert (buzz["length"], buzz["bang"], buzz["color"]) == ("women's short", "n/a", "other")
    assert not {"length", "natural-curl", "bang", "color"} & khairstyle_fields({**base, "wild": "shaved"}).keys()
    assert "bang" not in khairstyle_fields({**base, "wild": "hat,hand"})
    assert khairstyle_fields({**base, "wild": "hat"})["natural-curl"] == "wavy"
    assert "natural-curl" not in buzz


@pytest.mark.parametrize(
    ("changes", "cropped"),
    [
        ({"length": "short", "reach": 0.2}, True),
        ({"length": "short", "reach": 0.3}, False),
        ({"length": "short", "reach": 0.2, "bangs": "side"}, False),
        ({"length": "bob", "reach": 0.2}, False),
        ({"length": "long", "loss": "bald"}, True),
        ({"length": "short", "reach": 0.9, "loss": "thinning"}, True),
        ({"length": "short", "reach": 0.9, "loss": "receding"}, False),
    ],
)
def test_hair_too_short_to_show_its_curl(changes: dict[str, Any], cropped: bool):
    hair = replace(sample_person(5, 0).hair, bangs="none", loss="none")
    assert is_cropped(replace(hair, **changes)) == cropped


def test_a_crop_has_no_curl_in_its_label(tmp_path):
    people = [sample_person(5, source).hair for source in range(40)]
    shortest = next(source for source, hair in enumerate(people) if is_cropped(hair))
    synthesize(SynthesizeHair(sources=shortest + 1, views=1, size=64, wild=0.0, clarity=1.0), seed=5, out=tmp_path)
    frames = {frame.source: frame for frame in (load() for load in read_khairstyle(tmp_path))}
    told = {source: "natural-curl" in frame.attributes for source, frame in frames.items()}
    assert told == {f"VS{source + 1:06d}": source != shortest for source in range(shortest + 1)}


@pytest.mark.parametrize(("name", "value"), [("sources", 0), ("views", 0), ("size", 32), ("wild", 1.5)])
def test_a_number_out_of_range_names_the_setting(tmp_path, name, value):
    settings = SynthesizeHair(sources=1, views=1, size=64, wild=0.0, clarity=1.0)
    setattr(settings, name, value)
    with pytest.raises(ConfigError, match=rf"hair\.synthesize\.{name}={value}"):
        synthesize(settings, seed=0, out=tmp_path)
