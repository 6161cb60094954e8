"""The eye networks: their sizes to the parameter, what they take and give, and what makes them what they are called."""

import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from visage.eyes.attention import WINDOW, CascadedGroupAttention, cut, distances, join
from visage.eyes.layers import Residual
from visage.eyes.networks import FRAME, KINDS, AtFullSize, at_size, core_state, count_macs
from visage.training.freeze import count_parameters

COUNTS = {"tiny": 29_832, "micro": 9_546, "shallow": 67_587, "ellipse": 8_387}
LIMITS = {"tiny": 60_000, "micro": 10_000}
ONNX_LIMIT = 300_000


def randomised(kind: str) -> nn.Module:
    """An exported model with nothing left at zero: zeros and equal constants would make size and parity trivial."""
    torch.manual_seed(0)
    network = KINDS[kind].build()
    with torch.no_grad():
        for tensor in [*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]:
            tensor.add_(0.3 * torch.randn_like(tensor))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return AtFullSize(network).eval()


@pytest.mark.parametrize("kind", COUNTS)
def test_the_number_of_parameters_is_known_exactly(kind: str) -> None:
    network = KINDS[kind].build()
    assert count_parameters(network) == (COUNTS[kind], COUNTS[kind])
    assert COUNTS[kind] < LIMITS.get(kind, 100_000)


@pytest.mark.parametrize("kind", COUNTS)
def test_training_and_frame_size_go_in_and_maps_of_that_size_come_out(kind: str) -> None:
    network = KINDS[kind].build().eval()
    half, whole = torch.randn(2, 1, 200, 320), torch.randn(2, 1, *FRAME)
    with torch.inference_mode():
        for answer, size in ((network(half), (200, 320)), (AtFullSize(network)(whole), FRAME), (network(whole), FRAME)):
            assert answer.shape == ((2, 4) if kind == "ellipse" else (2, 2, *size))


def test_frames_of_full_size_are_trained_at_the_scale_of_half() -> None:
    core = KINDS["micro"].build()
    assert at_size(core, 200, 320) is core
    whole = at_size(core, *FRAME)
    assert core_state(whole.state_dict()).keys() == core.state_dict().keys()
    assert all(
        tensor.is_contiguous()
        for tensor in core_state(whole.to(memory_format=torch.channels_last).state_dict()).values()
    )


@pytest.mark.parametrize("kind", ["tiny", "micro"])
def test_windows_divide_every_map_without_padding(kind: str) -> None:
    network, seen = KINDS[kind].build().eval(), []
    for module in network.modules():
        if isinstance(module, CascadedGroupAttention):
            module.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2:]))
    with torch.inference_mode():
        network(torch.randn(1, 1, 200, 320))
    assert seen == [(100, 160), (50, 80), (25, 40)]
    assert all(height % WINDOW[0] == 0 and width % WINDOW[1] == 0 for height, width in seen)


def test_a_size_that_the_windows_do_not_divide_is_named() -> None:
    with pytest.raises(ValueError, match="100 x 160"):
        KINDS["micro"].build()(torch.randn(1, 1, 100, 160))


def test_the_heads_are_a_cascade() -> None:
    attention = CascadedGroupAttention(24, 2).eval()
    outputs: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    inner = attention.attend
    attention.attend = lambda head, x: outputs[head].append(inner(head, x)) or outputs[head][-1]  # type: ignore[method-assign, func-returns-value]
    x = torch.randn(3, 24, *WINDOW)
    changed = x.clone()
    changed[:, :12] += 1 + torch.randn(3, 12, *WINDOW)
    with torch.inference_mode():
        attention(x), attention(changed)
    assert not torch.allclose(*outputs[1], atol=1e-3)


def test_tokens_of_a_window_come_together_and_go_back() -> None:
    x = torch.arange(2 * 3 * 10 * 16.0).reshape(2, 3, 10, 16)
    tokens = cut(x, WINDOW)
    assert tokens.shape == (8, 40, 3)
    torch.testing.assert_close(tokens[1], x[0, :, :5, 8:].flatten(1).T)
    torch.testing.assert_close(join(tokens, WINDOW, (10, 16)), x)


def test_tokens_look_at_their_window_alone() -> None:
    attention = CascadedGroupAttention(8, 1, kernel=1).eval()
    nn.init.ones_(attention.project_out[1][1].weight)  # type: ignore[index, arg-type]
    x = torch.randn(1, 8, 10, 16)
    changed = x.clone()
    changed[..., :5, :8] += 1
    with torch.inference_mode():
        away = (attention(x) - attention(changed)).abs().amax((0, 1))
    assert away[:5, :8].min() > 0
    assert away[5:].max() == away[:, 8:].max() == 0


def test_the_bias_knows_distances() -> None:
    offsets = distances(WINDOW)
    assert offsets[0, 0] == 0
    assert offsets[0, 9] == offsets[9, 0] == 1 * 8 + 1
    assert len(offsets.unique()) == 40


@pytest.mark.parametrize("kind", ["tiny", "micro"])
def test_every_residual_branch_begins_as_zero(kind: str) -> None:
    torch.manual_seed(1)
    x, found = torch.randn(2, 1, 80, 128), []
    network = KINDS[kind].build()
    for module in network.modules():
        if isinstance(module, Residual):
            module.branch.register_forward_hook(lambda *call: found.append(call[2].abs().max().item()))
    network(x)
    assert len(found) == (23 if kind == "tiny" else 12)
    assert max(found) == 0


@pytest.mark.parametrize("kind", COUNTS)
def test_onnx_is_small_and_answers_alike(kind: str) -> None:
    ort = pytest.importorskip("onnxruntime")
    model, file = randomised(kind), io.BytesIO()
    x = torch.randn(3, 1, *FRAME)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (x[:1],), file, dynamo=False, opset_version=17, input_names=["image"], output_names=["out"],
            dynamic_axes={"image": {0: "batch"}, "out": {0: "batch"}},
        )  # fmt: skip
    # The comparison network may be larger.
    assert len(file.getvalue()) < (ONNX_LIMIT if kind != "shallow" else 2 * ONNX_LIMIT)
    answer = ort.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"]).run(None, {"image": x.numpy()})
    with torch.inference_mode():
        expected = model(x).numpy()
    np.testing.assert_allclose(answer[0], expected, atol=1e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize(("kind", "most"), [("tiny", 0.2), ("micro", 0.1), ("ellipse", 0.05)])
def test_the_arithmetic_is_small(kind: str, most: float) -> None:
    assert 1e-3 < count_macs(AtFullSize(KINDS[kind].build().eval()), *FRAME) / 1e9 < most


@pytest.mark.parametrize("kind", COUNTS)
def test_the_gain_and_offset_of_a_camera_change_nothing(kind: str) -> None:
    network, x = KINDS[kind].build().eval(), torch.randn(1, 1, 200, 320)
    with torch.inference_mode():
        torch.testing.assert_close(network(0.3 * x - 0.5), network(x), atol=5e-3, rtol=5e-3)


def test_the_ellipse_net_tells_its_votes_in_training_alone() -> None:
    network = KINDS["ellipse"].build()
    ellipse, chances = network(torch.randn(2, 1, 80, 128))
    assert ellipse.shape == (2, 4)
    assert chances.shape == (2, 10, 16)
    torch.testing.assert_close(chances.exp().sum((1, 2)), torch.ones(2))
    assert network.eval()(torch.randn(2, 1, 80, 128)).shape == (2, 4)
