"""The report is one file that asks nobody for anything, shows every plot and picture, and trusts no text."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from visage.errors import VisageError
from visage.io.atomic import write_csv, write_json, write_text
from visage.tracking.plots import draw, restyle
from visage.tracking.report import build_report
from visage.tracking.tracker import track

DVC_YAML = """
stages:
  evaluate_faces:
    cmd: echo
    plots:
    - plots/evaluate_faces/confusion.csv: {cache: false, template: confusion, x: actual, y: predicted}
    - plots/evaluate_faces/worst.png: {cache: false}
    - plots/evaluate_faces/bars.csv: {cache: false, template: bars, x: iou, y: method, title: "IoU <b>"}
    - plots/evaluate_faces/absent.csv: {cache: false}
plots:
- Loss:
    x: epoch
    y: {plots/finetune_faces/train_loss.csv: train_loss, plots/finetune_faces/valid_loss.csv: valid_loss}
"""
BARS = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "data": {"values": "<DVC_METRIC_DATA>"},
    "title": "<DVC_METRIC_TITLE>",
    "mark": "bar",
    "encoding": {"x": {"field": "<DVC_METRIC_X>", "type": "quantitative"}, "y": {"field": "<DVC_METRIC_Y>"}},
}
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small DVC repository with curves, a confusion matrix, a custom template, a picture, a model and parameters."""
    root = tmp_path_factory.mktemp("repository")
    (root / ".dvc" / "plots").mkdir(parents=True)
    write_text(root / ".dvc" / "config", "[core]\n    no_scm = true\n    analytics = false\n")
    write_json(root / ".dvc" / "plots" / "bars.json", BARS)
    write_text(root / "dvc.yaml", DVC_YAML)
    write_text(root / "params.yaml", "lr: 0.001\nfaces:\n  finetune: {epochs: 20}\n")
    for name in ("train_loss", "valid_loss"):
        rows = [{"epoch": epoch, name: 1 / (epoch + 1)} for epoch in range(5)]
        write_csv(root / "plots" / "finetune_faces" / f"{name}.csv", rows, ["epoch", name])
    folder = root / "plots" / "evaluate_faces"
    pairs = [{"actual": a, "predicted": b} for a, b in [("x", "x"), ("x", "y"), ("y", "y")]]
    write_csv(folder / "confusion.csv", pairs, ["actual", "predicted"])
    write_csv(folder / "bars.csv", [{"method": EVIL, "iou": 0.5}, {"method": "b", "iou": 0.7}], ["method", "iou"])
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(folder / "worst.png"), np.full((20, 30, 3), 128, np.uint8))
    per_class = {f"class_{i}": {"precision": 0.5, "recall": 0.25} for i in range(4)}
    many = {f"value_{i}": i for i in range(40)}
    metrics = {"test": {"accuracy": 0.912345, "count": 12345}, "per_class": per_class, "many": many, "note": EVIL}
    write_json(root / "metrics" / "evaluate_faces.json", metrics)
    model = {"model_version": "faces-3f2a", "metrics": {"accuracy": 0.91}, "classes": ["a", EVIL]}
    write_json(root / "artifacts" / "models" / "faces" / "model.json", model)
    return root


@pytest.fixture(scope="module")
def report(repository: Path) -> str:
    return build_report(repository, repository / "out" / "report.html").read_text()


class _Page(HTMLParser):
    """Every tag with its attributes, and every text by the tag it is in."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, {name: value or "" for name, value in attributes}))


def test_no_request_leaves_the_page(report):
    for tag, attributes in _Page(report).tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base"), tag
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "srcset", "poster", "data", "action"):
                assert value.startswith(("data:", "#")), (tag, name, value[:80])
            assert not name.startswith("on"), (tag, name)
    assert not re.search(r"@import|url\((?!#)", report)
    assert set(re.findall(r"https?://[^\"'\s<]+", report)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_every_plot_and_picture_is_there_and_what_cannot_be_drawn_is_named(report):
    page = _Page(report)
    assert sum(tag == "svg" for tag, _ in page.tags) == 3
    assert [attributes["src"][:22] for tag, attributes in page.tags if tag == "img"] == ["data:image/png;base64,"]
    assert "train_loss" in report
    assert "absent.csv" in report.partition("Not drawn")[2]


def test_text_from_files_never_becomes_markup(report):
    assert "<script" not in report
    assert report.count("&lt;script&gt;") >= 2
    assert "IoU &lt;b&gt;" in report


def test_ids_are_unique_so_that_no_drawing_uses_another_ones_clip_path(report):
    ids = [attributes["id"] for _, attributes in _Page(report).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)\"]+)\)", report)) | set(re.findall(r'href="#([^"]+)"', report))
    assert used <= set(ids)


def test_metrics_are_flattened_and_long_tables_folded(report):
    opened = re.sub(r"<details>.*?</details>", "", report, flags=re.DOTALL)
    assert "test.accuracy" in opened
    assert "0.9123" in opened
    assert "12,345" in opened
    assert "class_3" in report
    assert "class_3" not in opened
    assert "value_39" not in opened
    assert "finetune.epochs" in report


def test_models_parameters_and_costs_have_their_place(repository, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(repository))
    with track("evaluate_faces", params={}):
        pass
    report = build_report(repository, repository / "report.html").read_text()
    for heading in ("Metrics", "Plots: overview", "Plots: evaluate_faces", "Models", "Time and memory", "Parameters"):
        assert f">{heading}</a>" in report
        assert f"<h2>{heading}</h2>" in report
    assert "faces-3f2a" in report


def test_the_report_leaves_nothing_else_behind(repository):
    before = sorted(str(path) for path in repository.rglob("*") if ".dvc/" not in str(path))
    build_report(repository, repository / "out" / "report.html")
    assert sorted(str(path) for path in repository.rglob("*") if ".dvc/" not in str(path)) == before


def test_before_anything_was_measured_one_line_says_what_to_run(tmp_path):
    with pytest.raises(VisageError, match="run `make repro` first"):
        build_report(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_damaged_metrics_file_is_named(tmp_path):
    write_text(tmp_path / "metrics" / "x.json", "{")
    write_text(tmp_path / ".dvc" / "config", "[core]\n    no_scm = true\n")
    with pytest.raises(VisageError, match=r"x\.json: is not JSON"):
        build_report(tmp_path, tmp_path / "report.html")


@pytest.mark.parametrize(
    "spec",
    [
        {"mark": {"type": "image", "url": "http://127.0.0.1:9/x.png"}, "data": {"values": [{}]}},
        {"mark": {"type": "bar", "href": "http://127.0.0.1:9/"}, "data": {"values": [{}]}},
        {"mark": "bar", "data": {"url": "http://127.0.0.1:9/x.csv"}},
    ],
)
def test_a_template_that_asks_for_something_outside_is_not_drawn(spec):
    with pytest.raises(ValueError, match=r"outside|allowed"):
        draw(spec, "f")


def test_several_revisions_keep_the_colours_dvc_gave_them():
    spec = {"data": {"values": [{"rev": "HEAD"}, {"rev": "workspace"}]}, "encoding": {"color": {"field": "rev"}}}
    assert restyle(spec)["encoding"] == spec["encoding"]
    assert restyle(spec | {"data": {"values": [{"rev": "HEAD"}]}})["encoding"]["color"] == {"value": "#6366f1"}
