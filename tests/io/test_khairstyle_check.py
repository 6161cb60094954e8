"""visage data check and translate: every fault counted, a verdict, and proposals that guess nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inpaint.toy import change, label_of, put, tree
from visage.cli import app
from visage.errors import DataError, MissingWeightsError
from visage.io.khairstyle_check import check_tree, describe
from visage.io.khairstyle_vocabulary import VOCABULARY, load_dictionary, to_english
from visage.io.translate import proposals, translate


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Six sources, and one of every fault."""
    tree(tmp_path / "raw", 4, 1)
    root = tmp_path / "raw"
    paths = [put(root, source) for source in (11, 12, 13, 14, 15, 16)]
    label_of(root, paths[0]).write_bytes(b"no json")
    (root / paths[1]).unlink()
    label_of(root, paths[2]).unlink()
    change(root, paths[3], polygon1="", polygon2="", **{"natural-curl": ...})
    change(root, paths[4], color="은하수", bang="은하수")
    label = label_of(root, paths[5])
    shutil.copy(label, root / paths[5].replace("-001", "_001"))
    label.with_name("other.json").write_bytes(label.read_bytes() + b" ")
    return root


def test_every_fault_is_counted(raw: Path) -> None:
    found = check_tree(raw)
    assert (found.labels, found.pictures, found.missaved) == (11, 9, 1)
    assert (found.pairs, found.sources, found.orphan_labels, found.orphan_pictures) == (7, 7, 1, 2)
    assert (found.damaged, found.repeated, found.no_hair, found.no_face) == (1, 1, 1, 1)
    assert found.coverage["natural-curl"] == 6
    assert found.unknown == {"color=은하수": 1, "bang=은하수": 1}
    assert (found.small, found.sized) == (7, 7)
    assert found.verdict() == (True, "usable with inpaint.prepare.min_side below 512 alone: no picture is larger")
    text = "\n".join(describe(found))
    assert "1 labels without a picture, 2 pictures without a label" in text
    assert "no json" not in text


def test_the_command_prints_a_verdict_and_its_exit_code_is_it(raw: Path, tmp_path: Path) -> None:
    good = CliRunner().invoke(app, ["data", "check", "khairstyle", str(raw)])
    assert good.exit_code == 0, good.output
    assert good.output.splitlines()[-1].startswith("usable")
    put(tmp_path / "poor", 1)
    poor = CliRunner().invoke(app, ["data", "check", "khairstyle", str(tmp_path / "poor")])
    assert poor.exit_code == 1
    assert poor.output.splitlines()[-1] == "not usable: 1 sources, and a split needs 3 at least"
    assert CliRunner().invoke(app, ["data", "check", "khairstyle", str(tmp_path / "none")]).exit_code == 2


def test_proposals_come_from_a_file_and_nothing_is_guessed(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text(json.dumps({"color=은하수": "galaxy"}))
    lines = proposals(raw, tmp_path / "words.json", None)
    assert json.loads(lines[0]) == {"bang": {"은하수": ""}, "color": {"은하수": "galaxy"}}
    assert lines[1].startswith("2 words, 1 of them without a proposal")
    assert proposals(tree(tmp_path / "clean", 2, 1), None, None) == ["conf/mapping_dict.json has every word"]
    (tmp_path / "words.json").write_text("[1]")
    with pytest.raises(DataError, match=r"words\.json"):
        proposals(raw, tmp_path / "words.json", None)
    with pytest.raises(MissingWeightsError, match="no translation model there"):
        translate(tmp_path / "none", ["color=은하수"])


def test_a_word_means_what_its_field_says() -> None:
    assert to_english("hair-width", "보통") == "normal"
    assert to_english("basestyle-type", "단") == "short"
    assert to_english("color", "기타") == "other"
    assert to_english("bang", "보통") is None
    assert len(VOCABULARY["natural-curl"]) == 4
    assert len(VOCABULARY["hair-width"]) == 3


@pytest.mark.parametrize("content", ["{", "[]", '{"color": ["a"]}', '{"color": {"a": ""}}'])
def test_a_damaged_dictionary_is_one_line(tmp_path: Path, content: str) -> None:
    from visage.errors import ConfigError

    (tmp_path / "d.json").write_text(content)
    with pytest.raises(ConfigError, match=r"d\.json"):
        load_dictionary(tmp_path / "d.json")
