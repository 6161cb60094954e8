"""The autoencoder: its start, its latents and their statistics, whose weights it takes, and which it refuses."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from inpaint.tiny import SIZE, autoencoder, make_autoencoder, prepared
from inpaint.toy import contents
from visage.errors import ConfigError, DataError, MissingWeightsError, VisageError
from visage.export.weights import load_safetensors, write_safetensors
from visage.inpaint import latents
from visage.inpaint.autoencoder_net import build_autoencoder, start_linear
from visage.inpaint.autoencoder_task import AutoencoderTask, psnr_db
from visage.inpaint.latents import RECORD, WEIGHTS_FILE, decode, encode, load_autoencoder, open_autoencoder, stride
from visage.inpaint.picture_set import PictureSet, from_signed, to_signed
from visage.inpaint.record import read_metadata


def smooth(count: int, seed: int, side: int = 64) -> Tensor:
    """Pictures of soft spots in random colours."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return functional.interpolate(coarse, (side, side), mode="bicubic").clamp(-1, 1)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(channels: list[int], size: int = 64) -> AutoencoderKL:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return build_autoencoder(channels, size).eval()


def psnr(made: Tensor, truth: Tensor) -> float:
    return float(psnr_db(made, truth, torch.ones_like(truth[:, :1])).mean())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("autoencoder") / "data")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        make_autoencoder(folder, data)
    return folder


def vae_like_sdxl(folder: Path) -> AutoencoderKL:
    """A small one as SDXL's: a scaling factor and no statistics of channels; saved in diffusers' layout."""
    with torch.random.fork_rng():
        torch.manual_seed(6)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8), norm_num_groups=4, sample_size=SIZE, scaling_factor=0.13025,
        )  # fmt: skip
    vae.save_pretrained(folder)
    return vae.eval()


@pytest.mark.parametrize("channels", [[8, 16], [16, 32, 64]])
def test_the_start_reconstructs_colours_that_it_has_never_seen(channels: list[int]) -> None:
    vae, unseen = seeded(channels), smooth(12, 2)
    with torch.inference_mode():
        before = vae.decode(vae.encode(unseen).latent_dist.mode()).sample
    start_linear(vae, smooth(16, 1))
    with torch.inference_mode():
        latents = vae.encode(unseen).latent_dist
        made = vae.decode(latents.mode()).sample
    assert psnr(made, unseen) > 28
    assert psnr(made, unseen) > psnr(before, unseen) + 12
    shift = (made.mean((2, 3)) - unseen.mean((2, 3))).abs()
    assert float(shift.mean()) < 0.03
    assert float(shift.max()) < 0.1
    means = functional.avg_pool2d(unseen, stride(vae))
    assert float((latents.mode()[:, :3] - means).abs().mean()) < 0.05  # as it says, latents begin as R, G and B
    assert float(latents.std.max()) < 0.05


def test_training_is_free_to_leave_the_start() -> None:
    vae, pictures = seeded([16, 32], 16), smooth(2, 2, 16)
    start_linear(vae, smooth(4, 1, 16))
    optimizer = torch.optim.Adam(vae.parameters(), 1e-3)
    for _ in range(4):  # what stands before weights of 0 moves once they have
        optimizer.zero_grad()
        posterior = vae.encode(pictures).latent_dist
        (vae.decode(posterior.mode()).sample.square().mean() + posterior.kl().mean()).backward()
        optimizer.step()
    still = [name for name, weight in vae.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


def test_latents_have_mean_0_and_deviation_1(trained: Path, data: Path) -> None:
    vae = open_autoencoder(trained / "train_autoencoder")
    assert len(vae.config.latents_mean) == len(vae.config.latents_std) == 4
    assert not any(weight.requires_grad for weight in vae.parameters())
    rows = [row for row in read_metadata(data) if row.split == "train"]
    pictures = PictureSet(data, rows, SIZE)
    truth = torch.from_numpy(np.stack([to_signed(pictures.image(index)) for index in range(len(rows))]))
    latents = encode(vae, truth)
    assert latents.shape == (len(rows), 4, SIZE // 2, SIZE // 2)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(4), atol=1e-3)
    raw = vae.encode(truth).latent_dist.mode()
    assert float((raw.std((0, 2, 3)) - 1).abs().min()) > 0.05  # it was not so before


def test_decoding_undoes_encoding(trained: Path, tmp_path: Path) -> None:
    plain = vae_like_sdxl(tmp_path)
    for vae in (open_autoencoder(trained / "train_autoencoder"), plain):
        picture = smooth(2, 3, SIZE)
        with torch.inference_mode():
            directly = vae.decode(vae.encode(picture).latent_dist.mode()).sample
        assert torch.allclose(decode(vae, encode(vae, picture)), directly, atol=1e-4)
    with torch.inference_mode():
        raw = plain.encode(picture).latent_dist.mode()
    assert plain.config.latents_mean is None
    assert torch.allclose(encode(plain, picture), 0.13025 * raw, atol=1e-6)


def test_a_large_batch_is_coded_one_picture_at_a_time(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vae = open_autoencoder(trained / "train_autoencoder")
    seen: list[int] = []
    for half in (vae.encoder, vae.decoder):
        half.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    found = []
    for most, parts in ((3 * SIZE**2, [3, 3]), (3 * SIZE**2 - 1, [1] * 6)):
        monkeypatch.setattr(latents, "AT_ONCE", most)
        seen.clear()
        found.append(decode(vae, encode(vae, smooth(3, 3, SIZE))))
        assert seen == parts
    assert torch.allclose(*found, atol=1e-4)


def test_gradients_pass_through_the_decoder(trained: Path) -> None:
    latents = noise(1, 4, 8, 8).requires_grad_()
    decode(open_autoencoder(trained / "train_autoencoder"), latents).square().mean().backward()
    assert latents.grad is not None
    assert latents.grad.abs().min() >= 0
    assert latents.grad.any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_latents_that_are_no_numbers_stop_the_run(tmp_path: Path, value: float) -> None:
    vae = vae_like_sdxl(tmp_path)
    nn.init.constant_(vae.quant_conv.bias, value)
    with pytest.raises(DataError, match=r"overflows in float16: use madebyollin/sdxl-vae-fp16-fix, or precision bf16"):
        encode(vae, smooth(1, 1, SIZE))


@pytest.mark.parametrize("name", ["config.json", WEIGHTS_FILE])
@pytest.mark.parametrize("below", ["", "vae"])
def test_a_file_that_is_not_there_is_named_with_its_origin_and_key(tmp_path: Path, name: str, below: str) -> None:
    vae_like_sdxl(tmp_path / below)
    load_autoencoder("file", str(tmp_path))
    (tmp_path / below / name).unlink()
    pattern = rf"^.*{name} is not there: bring .*stable-diffusion-xl-base-1\.0.*set autoencoder\.path to its folder$"
    with pytest.raises(MissingWeightsError, match=pattern) as caught:
        load_autoencoder("file", str(tmp_path))
    assert str(tmp_path / below / name) in str(caught.value)
    with pytest.raises(MissingWeightsError, match=r"nowhere/config\.json is not there"):
        load_autoencoder("file", tmp_path / "nowhere")


def test_weights_of_another_network_are_refused_and_never_left_random(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    log = logging.getLogger("diffusers")
    log.addHandler(caplog.handler)
    request.addfinalizer(lambda: log.removeHandler(caplog.handler))
    vae_like_sdxl(tmp_path)
    file = tmp_path / WEIGHTS_FILE
    state, _ = load_safetensors(file)
    name = "encoder.conv_in.bias"
    faults = {
        "decoder.conv_in.bias": {"features.0.weight": torch.zeros(3)},
        name: {key: value for key, value in state.items() if key != name},
        "extra": state | {"extra": torch.zeros(2)},
        r"encoder\.conv_in\.bias": state | {name: torch.zeros(5)},
    }
    for odd, faulty in faults.items():
        write_safetensors(file, faulty)
        with pytest.raises(
            DataError, match=rf"^autoencoder\.path=.*not the weights .*first odd tensor: {odd}\): bring"
        ):
            load_autoencoder("file", tmp_path)
    file.write_bytes(b"no safetensors")
    with pytest.raises(DataError, match=r"^autoencoder\.path=.*damaged .*: bring the VAE of .*$"):
        load_autoencoder("file", tmp_path)
    write_safetensors(file, state)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"^autoencoder\.path=.*damaged"):
        load_autoencoder("file", tmp_path)
    assert caplog.records == []  # a warning of many lines beside the one


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **options: object) -> None:
        assert options["subfolder"] == "vae"
        raise OSError("cannot connect\nmany\nlines")

    monkeypatch.setattr(AutoencoderKL, "from_pretrained", fail)
    pattern = (
        r"^autoencoder\.path=some/where: .*hub \(cannot connect\): bring .*set source=file and autoencoder\.path.*$"
    )
    with pytest.raises(MissingWeightsError, match=pattern):
        load_autoencoder("hub", "some/where")


def test_a_folder_of_weights_is_recorded_and_left_as_it_is(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = "data/raw/weights/sdxl"
    vae = vae_like_sdxl(tmp_path / path / "vae")
    make_autoencoder(tmp_path, data, autoencoder(source="file", path=path))
    out = tmp_path / "train_autoencoder"
    assert {name: json.loads(text) for name, text in contents(out).items()} == {
        RECORD: {"source": "file", "path": path}
    }
    measured = json.loads((tmp_path / "autoencoder.json").read_text())
    assert (measured["source"], measured["trained"], measured["pictures"]) == ("file", False, 3)
    opened = open_autoencoder(out)
    assert all(torch.equal(value, opened.state_dict()[name]) for name, value in vae.state_dict().items())
    shutil.rmtree(tmp_path / path)
    with pytest.raises(MissingWeightsError, match=r"config\.json is not there"):
        open_autoencoder(out)
    with pytest.raises(MissingWeightsError, match=r"record\.json is not there: dvc repro train_autoencoder"):
        open_autoencoder(tmp_path / "nowhere")


def test_weights_that_the_pipeline_does_not_watch_are_refused(tmp_path: Path) -> None:
    pattern = r"^autoencoder\.path=sdxl: put or link the file into data/raw/weights/, which the pipeline watches$"
    with pytest.raises(ConfigError, match=pattern):
        make_autoencoder(tmp_path, tmp_path, autoencoder(source="file", path="sdxl"))


def test_two_runs_give_the_same_bytes_and_the_ceiling_is_of_test_pictures(
    trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    make_autoencoder(tmp_path, data)
    for name in ("train_autoencoder/vae", "plots"):
        assert contents(tmp_path / name) == contents(trained / name)
    measured = json.loads((trained / "autoencoder.json").read_text())
    assert measured == json.loads((tmp_path / "autoencoder.json").read_text())
    rows = [row for row in read_metadata(data) if row.split == "test"]
    pictures, vae = PictureSet(data, rows, SIZE), open_autoencoder(trained / "train_autoencoder")
    truth = torch.from_numpy(np.stack([to_signed(pictures.image(index)) for index in range(len(rows))]))
    made = decode(vae, encode(vae, truth))
    assert measured["pictures"] == len(rows)
    assert measured["psnr"] == pytest.approx(psnr(made, truth), abs=0.01)
    errors = [
        np.mean(((made[i].clamp(-1, 1) - truth[i]).numpy() / 2)[:, pictures.hair(i) != 0] ** 2)
        for i in range(len(rows))
    ]
    assert measured["hair_psnr"] == pytest.approx(float(np.mean(-10 * np.log10(errors))), abs=0.01)


def test_a_sample_is_a_function_of_its_key(data: Path) -> None:
    task, again = (AutoencoderTask(autoencoder(bald=share), data, 3) for share in (0.5, 0.5))
    samples = task.train_samples
    assert len(samples) == 12
    assert samples[(0, 0)][0].shape == (3, 16, 16)
    assert np.array_equal(samples[(1, 2)][0], again.train_samples[(1, 2)][0])
    assert not np.array_equal(samples[(0, 0)][0], samples[(1, 0)][0])
    shares = []
    for share in (0.0, 1.0):
        crops = AutoencoderTask(autoencoder(bald=share, crop=SIZE), data, 3).train_samples
        pictures = crops.pictures
        bald = [pictures.bald(row) for row in range(len(pictures))]
        made = [from_signed(crops[(0, index)][0]) for index in range(8)]
        shares.append(np.mean([any(np.array_equal(m, b) or np.array_equal(m[:, ::-1], b) for b in bald) for m in made]))
    assert shares == [0, 1]


def test_a_picture_that_is_gone_stops_the_run(data: Path, tmp_path: Path) -> None:
    pictures = PictureSet(tmp_path, read_metadata(data), SIZE)
    with pytest.raises(DataError, match="run prepare_inpaint again"):
        pictures.image(0)


def test_signed_pixels_come_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    signed = to_signed(pixels)
    assert (signed.shape, signed.dtype) == ((3, 5, 7), np.float32)
    assert np.array_equal(from_signed(signed), pixels)
    assert np.array_equal(from_signed(np.full((3, 1, 1), 9, np.float32)), [[[255] * 3]])


@pytest.mark.parametrize(
    "changes",
    [{"size": 33}, {"crop": 17}, {"channels": []}, {"source": "file"}, {"source": "disk"}, {"lr": 0.0}, {"beta2": 1.0}],
)
def test_settings_that_cannot_be_honoured_are_refused(changes: dict) -> None:
    with pytest.raises(ConfigError, match=r"^autoencoder\."):
        autoencoder(**changes).check()
    assert issubclass(MissingWeightsError, VisageError)
