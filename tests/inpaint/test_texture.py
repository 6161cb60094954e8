"""The texture encoder: its loss against the definition, what a view shows, that it learns, and what is not measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inpaint.toy import run, runtime, settings, tree
from visage.errors import DataError, MissingWeightsError
from visage.inpaint.config import Texture
from visage.inpaint.prompt import MISSING
from visage.inpaint.record import METADATA, read_metadata, stored_row
from visage.inpaint.supcon import supcon
from visage.inpaint.texture_data import GROUND, TextureSamples, even_strands, hairy_part
from visage.inpaint.texture_measure import Seen, alignment, neighbours_say, uniformity
from visage.inpaint.texture_net import TextureNetwork, backbone_name, load_backbone, load_network
from visage.inpaint.texture_task import TextureTask, class_weights, named_entropy
from visage.inpaint.train_texture import NETWORK, train_texture
from visage.io.atomic import write_jsonl

QUICK = Texture(
    arch="resnet18", weights="none", weights_file=None, part=0.4, size=32, epochs=2, steps=2, batch_size=8, lr=1e-3,
    weight_decay=0.01, early_stop=0, projection=16, supcon=0.5, temperature=0.07, dropout=0.1, snapshot_steps=2,
    looks=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        patch.setenv("VISAGE_WORKERS", "2")
        tree(folder / "raw", sources=12, views=1)
        run(folder, folder / "raw", settings(train=0.6, val=0.2, test=0.2))
    return folder / "out"


def unit(*shape: int) -> Tensor:
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(3)), dim=-1)


def reference(z: Tensor, labels: list[int], temperature: float) -> float:
    """The definition, term by term; z: (N, D) with a label each."""
    terms = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        below = sum(torch.exp(z[i] @ z[a] / temperature) for a in others)
        if positives:
            terms.append(
                -sum(torch.log(torch.exp(z[i] @ z[p] / temperature) / below) for p in positives) / len(positives)
            )
    return float(sum(terms) / max(len(terms), 1))


@pytest.mark.parametrize("labels", [[0, 0, 1, 2, 1], [0, 0, 0, 0, 0], [0, 1, 2, 3, 4]])
def test_supcon_is_its_definition(labels: list[int]) -> None:
    z = unit(5, 2, 8)
    flat = z.transpose(0, 1).reshape(10, 8)
    assert float(supcon(z, torch.tensor(labels), 0.07)) == pytest.approx(reference(flat, labels * 2, 0.07), rel=1e-4)


def test_an_anchor_without_a_positive_is_no_nan() -> None:
    single = unit(4, 1, 8).requires_grad_()
    loss = supcon(single, torch.tensor([0, 1, 2, 3]), 0.07)
    loss.backward()
    assert loss.item() == 0
    assert single.grad is not None
    assert single.grad.isfinite().all()
    mixed = float(supcon(unit(3, 1, 8), torch.tensor([5, 5, 1]), 0.07))
    assert mixed == pytest.approx(reference(unit(3, 1, 8)[:, 0], [5, 5, 1], 0.07), rel=1e-4)


def test_a_missing_label_makes_nobody_a_positive() -> None:
    z = unit(4, 2, 8)
    unknown = float(supcon(z, torch.tensor([-1, -1, -1, -1]), 0.07))
    distinct = float(supcon(z, torch.tensor([0, 1, 2, 3]), 0.07))
    assert unknown == pytest.approx(distinct, rel=1e-6)


def test_with_two_views_and_equal_classes_every_anchor_has_a_positive(data: Path) -> None:
    task = TextureTask(QUICK, data, data, 0)
    samples = task.train_samples
    labels = [samples[(1, index)][1] for index in range(len(samples))]
    assert len(samples) == 16
    counts = np.bincount(labels)
    assert counts[counts > 0].tolist() == [4, 4, 4, 4]
    views = samples[(0, 0)][0]
    assert views.shape == (2, 3, 32, 32)
    assert not np.array_equal(views[0], views[1])
    assert np.array_equal(views, samples[(0, 0)][0])  # the same again, whenever and wherever it is read


def test_pictures_without_a_curl_come_up_as_often_as_there_are(data: Path) -> None:
    rows = [row for row in read_metadata(data) if row.split == "train"]
    for missing in (0, len(rows) // 2, len(rows)):
        mixed = [replace(row, curl=MISSING) if place < missing else row for place, row in enumerate(rows)]
        samples = TextureSamples(data, mixed, 32, 0.4, 0, balanced=400)
        picked = [samples._pick(index, np.random.default_rng(index)) for index in range(400)]
        assert np.mean([mixed[row].curl == MISSING for row in picked]) == pytest.approx(missing / len(rows), abs=0.08)


def test_missing_labels_are_left_out_of_the_heads() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    weight = torch.ones(3)
    some = named_entropy(logits, torch.tensor([0, -1, 2, -1]), weight)
    assert float(some) == pytest.approx(float(functional.cross_entropy(logits[[0, 2]], torch.tensor([0, 2]))))
    none = named_entropy(logits, torch.tensor([-1, -1, -1, -1]), weight)
    none.backward()
    assert none.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_class_weights_even_out_the_classes(data: Path) -> None:
    rows = [row for row in read_metadata(data) if row.split == "train"]
    weights = class_weights(rows, "volume")
    counts = np.bincount([row.volume for row in rows], minlength=3)
    products = weights.numpy()[counts > 0] * counts[counts > 0]
    assert np.ptp(products) < 1e-5
    assert float(weights[torch.from_numpy(counts > 0)].mean()) == pytest.approx(1)


def test_strands_are_even_whatever_the_light_and_the_colour() -> None:
    y, x = np.indices((80, 80))
    stripes = np.where(x // 3 % 2, 1.0, -1.0)
    hair = np.zeros((80, 80, 4), np.uint8)
    hair[20:70, 10:70, 3] = 255
    dark, light = hair.copy(), hair.copy()
    dark[..., :3] = (40 + 12 * stripes)[..., None] * (hair[..., 3:] != 0)
    light[..., :3] = (np.array([1.0, 0.8, 0.6]) * (170 + 40 * stripes + y / 4)[..., None]) * (hair[..., 3:] != 0)
    one, there = even_strands(dark)
    other, _ = even_strands(light)
    assert np.array_equal(there, (hair[..., 3] != 0).astype(np.uint8))
    assert np.all(one[there == 0] == GROUND)
    inner = np.s_[30:60, 20:60]
    assert np.abs(one[inner].astype(int) - other[inner]).mean() < 12
    assert one[inner].std() > 30
    assert np.corrcoef(one[inner].ravel(), stripes[inner].ravel())[0, 1] > 0.95


def test_a_part_shows_the_hair_there_is() -> None:
    strands, there = np.arange(100 * 100).reshape(100, 100).astype(np.uint8), np.zeros((100, 100), np.uint8)
    there[:, 60:] = 1
    shares = [hairy_part(there, there, 0.2, np.random.default_rng(seed)).mean() for seed in range(20)]
    assert min(shares) == 1
    assert hairy_part(strands, there, 0.2, np.random.default_rng(0)).shape == (20, 20)
    assert hairy_part(strands, there, 2.0, np.random.default_rng(0)).shape == (100, 100)


def test_a_file_that_cannot_be_read_stops_the_run(data: Path, tmp_path: Path) -> None:
    samples = TextureSamples(tmp_path, read_metadata(data), 32, 0.4, 0, balanced=4)
    with pytest.raises(DataError, match="run prepare_inpaint again"):
        samples[(0, 0)]


def test_what_is_measured_is_the_same_whenever_it_is_asked(data: Path) -> None:
    rows = read_metadata(data)
    one, other = (TextureSamples(data, rows, 32, 0.4, 5) for _ in range(2))
    one[(3, 1)]
    assert np.array_equal(one.looks(2, 3), other.looks(2, 3))
    assert one.looks(2, 3).shape == (3, 3, 32, 32)
    assert one.resident_bytes() == len(rows) * 2 * 96 * 96


def trained(folder: Path, data: Path, chosen: Texture = QUICK, minutes: float = 0.0) -> dict:
    train_texture(
        chosen, replace(runtime(), max_minutes=minutes), seed=1, data=data, encoder=folder / "none",
        out=folder / "out", metrics=folder / "texture.json", plots=folder / "plots",
    )  # fmt: skip
    return json.loads((folder / "texture.json").read_text())


def test_what_is_trained_is_written_and_measured_on_other_people(data, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    measured = trained(tmp_path, data)
    names = {path.name for path in (tmp_path / "out").glob("*.safetensors")}
    assert names == {NETWORK, "stage1_step_2.safetensors", "stage1_step_4.safetensors"}
    network, config = load_network(tmp_path / "out" / NETWORK)
    assert config["arch"] == "resnet18"
    found = network(torch.zeros(2, 3, 32, 32))
    assert [tuple(part.shape) for part in found] == [(2, 512), (2, 16), (2, 4), (2, 3)]
    test = [row for row in read_metadata(data) if row.split == "test"]
    assert measured["pictures"] == len(test)
    for name in ("curl", "volume"):
        assert measured[name].keys() == {
            "accuracy", "macro_f1", "majority_accuracy", "majority_macro_f1", "knn1", "knn5",
        }  # fmt: skip
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "history.csv", "confusion_curl.csv", "confusion_volume.csv", "embedding.png", "neighbours.png",
    }  # fmt: skip


def test_a_whole_cycle_keeps_its_last_epoch_and_one_that_may_stop_its_best(data, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    longer = replace(QUICK, epochs=4)
    assert trained(tmp_path, data, longer)["kept_epoch"] == 4
    out = tmp_path / "out"
    assert (out / NETWORK).read_bytes() == (out / "stage1_step_8.safetensors").read_bytes()
    measured = trained(tmp_path, data, replace(longer, early_stop=3))
    history = np.genfromtxt(tmp_path / "plots" / "history.csv", delimiter=",", names=True)
    assert measured["kept_epoch"] == 1 + int(np.argmax(history["valid_accuracy"]))


def test_data_without_labels_are_not_measured(data, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    rows = [stored_row(replace(row, volume=-1)) for row in read_metadata(data)]
    for path in data.iterdir():
        if path.name != METADATA:
            (tmp_path / "set").mkdir(exist_ok=True)
            (tmp_path / "set" / path.name).symlink_to(path)
    write_jsonl(tmp_path / "set" / METADATA, rows)
    measured = trained(tmp_path, tmp_path / "set")
    assert measured["volume"] == "not measured"
    assert measured["curl"]["accuracy"] >= 0


def test_textures_that_differ_are_learned(data, tmp_path, monkeypatch) -> None:
    """Hair that shows its curl as upright stripes, level ones, squares, or nothing: after a few steps it is told."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    from visage.io.rgba import encode_rgba

    y, x = np.indices((32, 32)) // 4 % 2
    patterns = [(part * 150 + 50).astype(np.uint8) for part in (x, y, x ^ y, np.zeros_like(x))]
    rows = []
    (tmp_path / "set").mkdir()
    for index in range(24):
        split, name = ("train", "train", "val", "test")[index // 4 % 4], f"{index}.png"
        row = replace(read_metadata(data)[0], id=f"r{index}", source=f"s{index}", split=split, style=name,
                      hair_only=name, curl=index % 4, volume=index % 3, patches=[], num_patches=0)  # fmt: skip
        picture = np.dstack([patterns[index % 4]] * 3 + [np.full((32, 32), 255, np.uint8)])
        (tmp_path / "set" / row.style).write_bytes(encode_rgba(picture))
        rows.append(stored_row(row))
    write_jsonl(tmp_path / "set" / METADATA, rows)
    measured = trained(tmp_path, tmp_path / "set", replace(QUICK, part=0.8, steps=12, epochs=4, snapshot_steps=12))
    assert measured["curl"]["accuracy"] == 1
    assert measured["curl"]["majority_accuracy"] < 0.5


def seen(embedding: np.ndarray, views: np.ndarray | None = None) -> Seen:
    return Seen([], embedding, list(views) if views is not None else [], {})


def test_neighbours_alignment_and_uniformity() -> None:
    known, labels = np.eye(3)[[0, 0, 1, 2]], np.array([3, 3, 1, 2])
    assert neighbours_say(np.eye(3), known, labels, 1).tolist() == [3, 1, 2]
    assert neighbours_say(np.array([[1.0, 0.9, 0.0]]), known, labels, 3).tolist() == [3]
    same, across = np.tile(np.eye(2)[0], (4, 2, 1)), np.stack([np.eye(2), -np.eye(2)])
    assert alignment(seen(np.eye(2), same)) == 0
    assert alignment(seen(np.eye(2), across)) == pytest.approx(2)
    assert uniformity(seen(np.eye(2), same)) == 0
    spread = np.stack([[point] * 2 for point in (np.eye(2)[0], -np.eye(2)[0])])
    assert uniformity(seen(np.eye(2), spread)) == pytest.approx(-8)


def test_weights_that_are_missing_or_foreign_are_refused(tmp_path: Path) -> None:
    network = TextureNetwork("resnet18", 16, 0.0)
    with pytest.raises(MissingWeightsError, match=r"texture\.weights_file"):
        load_backbone(network, "resnet18", "file", None, tmp_path)
    with pytest.raises(MissingWeightsError, match="pretrain_encoder"):
        backbone_name("encoder", tmp_path)
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(DataError, match="not resnet18's weights"):
        load_backbone(network, "resnet18", "file", str(tmp_path / "other.pth"), tmp_path)
