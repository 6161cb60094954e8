"""Progressive learning: the sizes of frames, and what a smaller frame keeps."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eyes.toy import disc, prepared, pupil_settings
from visage.eyes.maps import moments_ellipse, signed_distance
from visage.eyes.networks import FRAME, KINDS, at_size
from visage.eyes.progressive import epoch_sizes, shrink
from visage.eyes.pupil_task import PupilTask


def test_frames_grow_to_the_full_size() -> None:
    assert epoch_sizes((200, 320), 0.4, 3) == [(80, 128), (160, 256), (200, 320)]
    assert epoch_sizes((200, 320), 0.4, 1) == [(200, 320)]
    assert epoch_sizes(FRAME, 0.4, 3) == [(160, 256), (320, 512), FRAME]


@given(rows=st.integers(1, 8), columns=st.integers(1, 8), start=st.floats(0.1, 1), epochs=st.integers(1, 40))
def test_every_size_is_one_that_the_networks_take(rows: int, columns: int, start: float, epochs: int) -> None:
    full = 40 * rows, 64 * columns
    sizes = epoch_sizes(full, start, epochs)
    step = (80, 128) if full == FRAME else (40, 64)
    assert sizes == sorted(sizes)
    assert len(sizes) == epochs
    assert sizes[-1] == full
    assert all(height % step[0] == width % step[1] == 0 for height, width in sizes)
    assert epoch_sizes(full, 1.0, epochs) == [full] * epochs


@pytest.mark.parametrize("kind", ["tiny", "micro", "shallow"])
def test_the_networks_take_the_sizes(kind: str) -> None:
    network = KINDS[kind].build().eval()
    with torch.no_grad():
        for height, width in epoch_sizes((200, 320), 0.4, 3):
            assert network(torch.zeros(1, 1, height, width)).shape == (1, 2, height, width)
        assert at_size(network, *FRAME)(torch.zeros(1, 1, 160, 256)).shape == (1, 2, 160, 256)


def test_a_smaller_frame_shows_the_same_eye() -> None:
    label = disc(150, 90, 40, 30)
    image = torch.tensor(1.0 - label)[None, None].to(memory_format=torch.channels_last)
    whole = image, torch.tensor(label)[None], torch.tensor(label * 9)[None], torch.tensor(signed_distance(label))[None]
    small, mask, weights, distance = shrink(whole, (80, 128))
    assert small.shape == (1, 1, 80, 128)
    assert (mask.dtype, weights.dtype) == (torch.uint8, torch.uint8)
    assert torch.equal(weights, mask * 9)
    assert small.mean() == pytest.approx(float(image.mean()), abs=1e-3)
    truth = [value * 0.4 for value in moments_ellipse(label)]
    # A pixel's centre lies at its middle: 0.4 x (x + 1/2) - 1/2.
    assert moments_ellipse(mask[0].numpy()) == pytest.approx([truth[0] - 0.3, truth[1] - 0.3, *truth[2:]], abs=0.3)
    assert (distance[0] - torch.tensor(signed_distance(mask[0].numpy()))).abs().max() < 1
    assert shrink(whole, (200, 320)) is whole


def test_only_training_frames_are_small_and_the_budget_sees_full_ones(tmp_path: Path) -> None:
    task = PupilTask(pupil_settings(progressive=0.5, epochs=2), prepared(tmp_path / "data"), 0)
    batch = torch.utils.data.default_collate([task.train_samples[(0, index)] for index in range(2)])
    seen: list[int] = []
    task.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2]))
    task.loss(task.model, batch, train=True)
    task.begin_epoch(0)
    _, sums = task.loss(task.model, batch, train=True)
    task.loss(task.model, batch, train=False)
    task.begin_epoch(1)
    task.loss(task.model, batch, train=True)
    assert seen == [80, 40, 80, 80]
    assert float(sums["pixels"]) == 2 * 40 * 64
