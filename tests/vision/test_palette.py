"""A colour has one meaning, by name, by hex and in LAB."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from visage.errors import ConfigError, VisageError
from visage.vision.palette import PALETTE, delta_e, load_palette, parse_color, srgb_to_lab

NAMES = [
    "black", "dark_brown", "brown", "light_brown", "blonde", "platinum", "red", "auburn", "ginger", "pink", "blue",
    "purple", "green", "silver", "white",
]  # fmt: skip


def test_the_palette_has_the_named_colours_in_order() -> None:
    assert list(load_palette()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_hex_and_lab_of_the_file_are_one_colour(name: str) -> None:
    entry = yaml.safe_load(PALETTE.read_text(encoding="utf-8"))[name]
    colour = parse_color(name)
    assert colour.hex == entry["hex"]
    assert "#{:02x}{:02x}{:02x}".format(*colour.rgb) == entry["hex"]
    np.testing.assert_allclose(colour.lab, entry["lab"], rtol=0, atol=0.005 + 1e-9)


# Bruce Lindbloom's calculator for sRGB and D65.
@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0, 0)),
    ],
)
def test_lab_is_that_of_the_standard(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    np.testing.assert_allclose(srgb_to_lab(rgb), lab, rtol=0, atol=0.02)


def test_delta_e_is_the_distance_over_the_last_axis() -> None:
    assert delta_e([[50, 3, 4], [1, 1, 1]], [[50, 0, 0], [1, 1, 1]]).tolist() == [5, 0]


@pytest.mark.parametrize("text", ["dark_brown", "Dark Brown", " dark-brown "])
def test_names_are_taken_as_people_write_them(text: str) -> None:
    assert parse_color(text).hex == "#3b2213"


def test_any_colour_may_be_given_as_hex() -> None:
    assert parse_color("#D4A54A").lab == parse_color("blonde").lab
    assert parse_color("#fa0").rgb == (255, 170, 0)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(VisageError, match=r"colour 'blond': did you mean blonde or brown; or give one as '#d4a54a'"):
        parse_color("blond")
    with pytest.raises(VisageError, match="known are black, dark_brown, .*white"):
        parse_color("zzz")


@given(st.text(max_size=20))
def test_whatever_is_asked_for_is_a_colour_or_one_line(text: str) -> None:
    try:
        answer = parse_color(text).hex
    except VisageError as error:
        answer = str(error)
    assert len(answer.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a: {hex: '#d4a54a', lab: [70, 8, 52]}", r"a: lab .* is not that of #d4a54a: write \[70\.46, 7\.7, 52\.48\]"),
        ("a: {hex: '#d4a54a', lab: [70.46, 7.7]}", "is not that of"),
        ("a: {hex: '#d4a54a', lab: text}", "is not that of"),
        ("a: {hex: '#d4a54a'}", "a: give it as"),
        ("a: {hex: 12, lab: [1, 2, 3]}", "a: give it as"),
        ("a: '#d4a54a'", "a: give it as"),
        ("[]", "no colours"),
        ("", "no colours"),
        ("a: [", "not readable as YAML"),
    ],
)
def test_a_palette_that_contradicts_itself_is_refused(content: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "palette.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=reason) as error:
        load_palette(path)
    assert str(path) in str(error.value) and len(str(error.value).splitlines()) == 1


def test_without_a_palette_hex_still_works(tmp_path: Path) -> None:
    assert parse_color("#123456", tmp_path / "none.yaml").rgb == (0x12, 0x34, 0x56)
    with pytest.raises(ConfigError, match=r"none\.yaml: unreadable .*give the colour as"):
        parse_color("blonde", tmp_path / "none.yaml")
