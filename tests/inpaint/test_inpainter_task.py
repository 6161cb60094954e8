"""The inpainter's training problem: its losses, on latents and on decoded pictures, and its averaged weights."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from inpaint.tiny import batch_of, consistency, inpainter, noise, task_of
from visage.errors import ConfigError
from visage.inpaint.conditions import Told
from visage.inpaint.consistency import consistent
from visage.inpaint.inpainter_task import InpainterTask, Sources
from visage.inpaint.inpainter_watch import Watch
from visage.inpaint.noise import clean_of
from visage.training import checkpoint


def take_steps(task: InpainterTask, count: int) -> torch.optim.Optimizer:
    optimizer = task.optimizer()
    for step in range(count):
        torch.manual_seed(step)
        task.loss(task.model, batch_of(task), True)[0].backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> str:
    """VGG16's weights as torchvision's, random."""
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    state = make_layers(cfgs["D"], batch_norm=False).state_dict()
    torch.save({f"features.{name}": value for name, value in state.items()}, path)
    return str(path)


@pytest.mark.parametrize("prediction", ["sample", "v_prediction"])
@pytest.mark.parametrize("by", ["encoder", "vgg16", "identity"])
def test_each_consistency_loss_alone_reaches_the_unet(cached: Sources, vgg: str, by: str, prediction: str) -> None:
    weights = {"texture": 0.0, "identity": 1.0} if by == "identity" else {"by": by, "file": vgg, "texture": 1.0}
    task = task_of(cached, prediction=prediction, consistency=consistency(**weights))
    clean, known, mask, *rest = batch_of(task)
    times = torch.tensor([100, 300, 500, 700])
    noisy = task.noise.add_noise(clean, noise(*clean.shape), times)
    said = task.model(noisy, times, mask, known, Told(*rest))
    assert task.consistent is not None
    task.consistent(clean_of(task.noise, said, noisy, times), clean, mask).backward()
    unet = task.model.network.unet
    for weight in (unet.conv_in.weight, unet.conv_out.weight, unet.down_blocks[1].attentions[0].proj_in.weight):
        assert weight.grad is not None
        assert weight.grad.isfinite().all()
        assert weight.grad.any()
    judges = [task.consistent.vae, task.consistent.texture, task.consistent.identity]
    assert all(weight.grad is None for judge in judges if judge is not None for weight in judge.parameters())


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [({}, True), ({"by": "none"}, False), ({"texture": 0.0}, False), ({"by": "none", "identity": 0.1}, True)],
)
def test_nothing_is_decoded_where_no_loss_asks_for_it(cached: Sources, changes: dict, wanted: bool) -> None:
    settings = inpainter(consistency=consistency(**changes))
    assert consistent(settings) == wanted
    assert (task_of(cached, consistency=settings.consistency).consistent is not None) == wanted


@pytest.mark.parametrize(
    "changes",
    [{"tints": -1}, {"channels": [32, 40]}, {"source": "file"}, {"trainable": "some"}, {"convention": "grey"},
     {"consistency": consistency(every=0)}],
)  # fmt: skip
def test_settings_that_cannot_be_honoured_are_refused(changes: dict) -> None:
    with pytest.raises(ConfigError, match=r"^inpainter\."):
        inpainter(**changes).check()


def test_adapters_of_a_new_network_are_refused() -> None:
    pattern = (
        r"^inpainter\.trainable=lora: a new network has no weights to adapt: set inpainter\.trainable=full, or .*$"
    )
    with pytest.raises(ConfigError, match=pattern):
        inpainter(trainable="lora").check()
    inpainter(trainable="lora", source="file", path="data/raw/weights/unet").check()


def test_the_whole_is_linear_in_the_weight_of_consistency_and_says_its_ratio(cached: Sources) -> None:
    losses, found = [], {}
    for weight in (0.0, 0.2, 0.4, 0.8):
        task = task_of(cached, consistency=consistency(texture=weight))
        torch.manual_seed(3)
        loss, found = task.loss(task.model, batch_of(task), True)
        losses.append(loss.item())
        assert (weight == 0) == (found == {})
    main = losses[0]
    assert losses[1] > main
    assert [(loss - main) / (losses[1] - main) for loss in losses] == pytest.approx([0, 1, 2, 4], rel=1e-3)
    sums = {name: float(value) for name, value in found.items()} | {"loss": 4 * losses[-1]}
    assert sums["decoded"] == 4
    report = task.report(sums, 4)
    assert report["noise_loss"] == pytest.approx(main, rel=1e-4)  # the monitored loss has no part of it
    assert report["consistency"] == pytest.approx(losses[-1] - main, rel=1e-4)
    assert report["ratio"] == pytest.approx((losses[-1] - main) / main, rel=1e-4)
    assert task.report({"loss": 8.0}, 4) == {"noise_loss": 2.0}


def test_pictures_are_decoded_every_so_many_steps(cached: Sources) -> None:
    task = task_of(cached, consistency=consistency(every=3))
    optimizer, decoded = task.optimizer(), []
    for _ in range(7):
        loss, found = task.loss(task.model, batch_of(task), True)
        decoded.append("decoded" in found)
        loss.backward()
        optimizer.step()
    assert decoded == [True, False, False, True, False, False, True]


def test_the_hair_weighs_more(cached: Sources) -> None:
    batch = batch_of(task_of(cached))
    task = task_of(cached, mask=0.0, consistency=consistency(by="none"))
    heavy = task_of(cached, mask=50.0, consistency=consistency(by="none"))
    for one in (task, heavy):  # a network that says 0: the loss is the latents' own size
        nn.init.zeros_(one.model.network.unet.conv_out.weight)
        nn.init.zeros_(one.model.network.unet.conv_out.bias)
    clean, mask = batch[0], batch[2]
    inside = float(((clean.square() * mask).sum((1, 2, 3)) / (4 * mask.sum((1, 2, 3)))).mean())
    assert task.loss(task.model, batch, True)[0].item() == pytest.approx(float(clean.square().mean()), rel=1e-4)
    assert heavy.loss(heavy.model, batch, True)[0].item() == pytest.approx(inside, rel=0.1)


def test_the_average_is_its_definition_and_survives_a_checkpoint(cached: Sources, tmp_path: Path) -> None:
    task = task_of(cached)
    weights = task.model.trained()
    expected, optimizer = [weight.detach().clone() for weight in weights], task.optimizer()
    for step in range(1, 6):
        task.loss(task.model, batch_of(task), True)[0].backward()
        optimizer.step()
        decay = min(step / (9 + step), 0.9) if step > 1 else 0.0  # warms up, as diffusers' EMAModel
        expected = [decay * old + (1 - decay) * new.detach() for old, new in zip(expected, weights, strict=True)]
    shadow = task.model.average.shadow_params
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(shadow, expected, strict=True))
    assert any(not torch.allclose(one, other, atol=1e-6) for one, other in zip(shadow, weights, strict=True))
    checkpoint.save(tmp_path / "state.pt", {"model": task.model.state_dict()})
    other = task_of(cached)
    other.model.load_state_dict(checkpoint.load(tmp_path / "state.pt")["model"])
    assert other.model.average.optimization_step == 5
    assert all(torch.equal(a, b) for a, b in zip(other.model.average.shadow_params, shadow, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(other.model.trained(), weights, strict=True))


def test_validation_asks_the_average_and_leaves_the_weights(cached: Sources) -> None:
    task = task_of(cached)
    batch = batch_of(task, train=False)
    untrained = task.loss(task.model, batch, False)[0].item()
    take_steps(task, 3)
    weights = task.model.trained()
    before, shadow = [weight.detach().clone() for weight in weights], task.model.average.shadow_params
    torch.manual_seed(1)
    state = torch.get_rng_state()
    loss, found = task.loss(task.model, batch, False)
    assert found == {}
    assert task.loss(task.model, batch, False)[0].item() == loss.item() != untrained
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(weights, before, strict=True))
    with torch.no_grad():
        for weight in weights:
            weight.add_(torch.randn_like(weight))  # raw weights do not matter
        assert task.loss(task.model, batch, False)[0].item() == loss.item()
        for weight, average in zip(weights, shadow, strict=True):
            weight.copy_(average)
        for average in shadow:
            average.zero_()
    assert task.loss(task.model, batch, False)[0].item() != loss.item()
    with suppress(ZeroDivisionError), task.model.averaged() as network:
        assert not any(weight.any() for weight in network.parameters())
        raise ZeroDivisionError
    assert all(weight.any() for weight in weights if weight.ndim > 1)  # they are back after an error too


def test_the_average_goes_where_the_network_goes(cached: Sources) -> None:
    task = task_of(cached)
    task.model.network.to("meta")  # as a GPU: the average was made before
    task.model.step()
    assert {weight.device.type for weight in task.model.average.shadow_params} == {"meta"}


def test_one_process_alone_keeps_snapshots(cached: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(vae: Any) -> Watch:
        return Watch(inpainter(sheet_steps=0), tmp_path / "snapshots", tmp_path / "sheets", None, vae)  # type: ignore[arg-type]

    task = task_of(cached, watch)
    monkeypatch.setenv("RANK", "1")
    take_steps(task, 2)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("RANK", "0")
    take_steps(task, 2)
    assert {path.name for path in (tmp_path / "snapshots").iterdir()} == {
        "stage2_epoch_1.safetensors", "stage2_step_4.safetensors"
    }  # fmt: skip
