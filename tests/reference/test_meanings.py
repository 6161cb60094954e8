"""Meanings of fields, from the forms that docstrings have."""

from dataclasses import dataclass

from visage.reference.meanings import COMMON, introduction, meanings


@dataclass
class Toy:
    """The `toy` section: what `kind` of toy.

    height, width: pixels of the frames, as 400 x 640. source: "new", or "file" (`path`); else nothing. rate and
    decay: of the optimizer.
    """

    kind: str
    height: int
    width: int
    source: str
    path: str
    rate: float
    decay: float
    epochs: int
    untold: int


@dataclass
class Own:
    """epochs: in all."""

    epochs: int


def test_a_list_of_fields_shares_what_follows_it() -> None:
    said = meanings(Toy)
    assert said["height"] == said["width"] == "pixels of the frames, as 400 x 640"
    assert said["rate"] == said["decay"] == "of the optimizer"


def test_a_field_in_backticks_is_explained_where_it_stands() -> None:
    said = meanings(Toy)
    assert said["source"] == '"new", or "file" (`path`); else nothing'
    assert said["path"] == "see `source`"
    assert said["kind"] == "The `toy` section: what `kind` of toy"


def test_common_terms_are_said_once_and_a_docstring_goes_before() -> None:
    assert meanings(Toy)["epochs"] == COMMON["epochs"]
    assert meanings(Own)["epochs"] == "in all"


def test_what_nothing_explains_has_no_meaning() -> None:
    assert "untold" not in meanings(Toy)


def test_the_introduction_ends_where_the_fields_begin() -> None:
    assert introduction(Toy) == "The `toy` section: what `kind` of toy."
    assert introduction(Own) == ""
