"""What several tests of the inpainter share: all that it is trained on, its latent caches, and one that is trained."""

from pathlib import Path

import pytest

from hair import segmenter_toy
from inpaint.tiny import SHOWN, VIEWS, Trained, inpainter, make, pictures, run
from visage.inpaint.inpainter_task import Sources
from visage.inpaint.latent_cache import Views, fill_cache
from visage.inpaint.latents import open_autoencoder
from visage.inpaint.style import open_style
from visage.inpaint.train_inpainter import Inputs


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """All that the inpainter is trained on, and an embedder."""
    folder = tmp_path_factory.mktemp("inpainter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        inputs = make(folder)
    segmenter_toy.encoder(inputs.encoder)
    return inputs


@pytest.fixture(scope="session")
def cached(made: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """The latent caches of the training and of the validation pictures."""
    folder = tmp_path_factory.mktemp("cached")
    vae, style = open_autoencoder(made.autoencoder), open_style(made.texture)
    for split, views in (("train", VIEWS), ("val", Views())):
        fill_cache(folder / split, pictures(made, split), vae, style, SHOWN, views)
    folders = (made.data, made.autoencoder, made.prompts, made.texture, made.encoder)
    return Sources(*folders, folder / "train", folder / "val")


@pytest.fixture(scope="session")
def painter_run(made: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A trained inpainter: 9 steps in 3 epochs, by micro-batches."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        return Trained(folder, run(folder, made, inpainter(epochs=3, micro_batch=2)))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with its own resume states and records."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path
