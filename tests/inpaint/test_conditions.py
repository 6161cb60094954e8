"""What the inpainter is told beside the picture: tokens, what is missing of them, and what is dropped."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from inpaint.tiny import SIZE, WIDTH, batch_of, task_of, told
from visage.inpaint.conditions import Conditioner, Told, drop, nothing, time_ids
from visage.inpaint.inpainter_task import Sources
from visage.inpaint.sampling import sample


def conditioner() -> Conditioner:
    """One whose learned tokens are not 0."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = Conditioner(16, 12, 10)
        for token in (module.no_style, module.no_identity):
            nn.init.normal_(token)
    return module.eval()


def test_a_style_and_an_identity_token_join_the_prompt() -> None:
    module, given_all = conditioner(), told()
    tokens, pooled = module(given_all)
    assert tokens.shape == (3, 5 + 2, 16)
    assert torch.equal(tokens[:, :5], given_all.tokens)
    assert torch.equal(tokens[:, 5], module.style(given_all.style))
    assert torch.equal(tokens[:, 6], module.identity(given_all.identity))
    assert torch.allclose(pooled, given_all.pooled + module.style_pooled(given_all.style))


@pytest.mark.parametrize("garbage", [1.0, 1e6])
def test_what_is_missing_is_a_learned_token_whatever_the_vectors_hold(garbage: float) -> None:
    module, whole = conditioner(), told()
    given_all = whole._replace(style=garbage * whole.style, identity=garbage * whole.identity)
    there = torch.tensor([[1.0, 0, 1], [1, 1, 0], [0, 1, 1]])
    tokens, pooled = module(given_all._replace(there=there))
    assert torch.equal(tokens[0, 5], module.no_style)
    assert torch.equal(tokens[1, 6], module.no_identity)
    assert not tokens[2, :5].any()
    assert torch.equal(pooled[0], given_all.pooled[0])
    assert torch.allclose(pooled[2], module.style_pooled(given_all.style[2]))
    everything, _ = module(given_all)
    assert torch.equal(tokens[0, 6], everything[0, 6])
    assert torch.equal(tokens[1, :6], everything[1, :6])
    free, bare = module(nothing(given_all))
    assert not free[:, :5].any()
    assert not bare.any()
    assert torch.equal(free[:, 5:], torch.stack([module.no_style, module.no_identity]).expand(3, 2, 16))


def test_what_is_dropped_is_drawn_for_each_by_itself() -> None:
    every = told(6000, 2)
    for shares in ((1.0, 0.0), (0.0, 1.0)):
        dropped = drop(every, *shares)
        assert all(torch.equal(one, other) for one, other in zip(dropped, nothing(every), strict=True))
    assert torch.equal(drop(every, 0, 0).there, every.there)
    torch.manual_seed(0)
    there = drop(every, 0.3, 0.0).there
    assert torch.allclose(there.mean(0), torch.tensor(0.7), atol=0.03)
    assert float((there[:, 0] * there[:, 1]).mean()) == pytest.approx(0.49, abs=0.03)
    together = drop(every, 0.0, 0.3).there
    assert torch.equal(together[:, 0], together[:, 2])
    assert float(together.mean()) == pytest.approx(0.7, abs=0.03)
    absent = every._replace(there=torch.zeros_like(every.there))
    assert not drop(absent, 0.0, 0.0).there.any()


def test_training_and_sampling_tell_the_unet_the_same_of_size(cached: Sources) -> None:
    task = task_of(cached)
    seen: list[Mapping[str, Tensor]] = []
    unet = task.model.network.unet
    unet.register_forward_pre_hook(lambda _, __, named: seen.append(named["added_cond_kwargs"]), with_kwargs=True)
    batch = batch_of(task)
    task.loss(task.model, batch, True)
    clean, known, mask, *rest = batch
    sample(task.model.network.eval(), task.noise, torch.randn_like(clean), mask, known, Told(*rest), sampler="ddim",
           steps=1, guidance=2.0)  # fmt: skip
    assert len(seen) == 3
    for added in seen:
        assert torch.equal(added["time_ids"], torch.tensor([[SIZE, SIZE, 0, 0, SIZE, SIZE]]).float().expand(4, 6))
        assert added["text_embeds"].shape == (4, WIDTH * 2)
    assert time_ids(2, 1024).tolist() == [[1024, 1024, 0, 0, 1024, 1024]] * 2
