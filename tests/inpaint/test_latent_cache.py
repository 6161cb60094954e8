"""What training asks of a picture, computed once: latents, mask and style, in files that appear whole."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inpaint.tiny import LATENT, SHOWN, SPLITS, VIEWS, WIDTH, noise, pictures, task_of
from visage.inpaint import latent_cache
from visage.inpaint.inpainter_task import Sources
from visage.inpaint.latent_cache import CLEAN, FIELDS, KNOWN, MASK, STYLE, LatentCache, Views, cache_file, fill_cache
from visage.inpaint.latents import encode, open_autoencoder
from visage.inpaint.picture_set import PictureSet, to_signed
from visage.inpaint.record import read_metadata
from visage.inpaint.shown import RING, Shown, shown_by
from visage.inpaint.style import open_style
from visage.inpaint.train_inpainter import Inputs

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([2, 4, 8]), st.floats(0.0, 0.2), st.booleans())
def test_the_mask_of_latents_covers_every_painted_pixel(seed: int, pixels: int, share: float, outline: bool) -> None:
    rng = np.random.default_rng(seed)
    paint, hair = rng.random((2, 1, 16, 24)) < share, rng.random((2, 1, 16, 24)) < 0.5
    pair = (torch.from_numpy(part).float() for part in (paint, hair))
    mask = Shown("bald", outline).mask(*pair, pixels).numpy()
    assert mask.shape == (2, 1, 16 // pixels, 24 // pixels)
    blocks = (2, 1, 16 // pixels, pixels, 24 // pixels, pixels)
    painted = paint.reshape(blocks).any((3, 5))
    assert np.array_equal(mask > 0, painted)
    grown = (paint & hair).reshape(blocks).mean((3, 5))
    assert np.allclose(mask, painted * (RING + (1 - RING) * grown if outline else 1.0), atol=1e-6)


def test_shrinking_loses_no_painted_pixel(made: Inputs, tmp_path: Path) -> None:
    row = replace(read_metadata(made.data)[0], mask="one.png")
    for place in ((0, 0), (77, 31), (127, 127)):
        mask = np.zeros((128, 128), np.uint8)
        mask[place] = 255
        cv2.imwrite(str(tmp_path / "one.png"), mask)
        found = PictureSet(tmp_path, [row], 32).paint(0)
        assert found[place[0] // 4, place[1] // 4] == 1
        assert set(np.unique(found)) == {0, 1}


@pytest.mark.parametrize("shown", [SHOWN, Shown("bald", False), Shown("masked", False)])
def test_a_row_is_the_picture_and_what_is_known_of_it_and_both_mirrored(
    made: Inputs, tmp_path: Path, shown: Shown
) -> None:
    chosen, vae = pictures(made, "val"), open_autoencoder(made.autoencoder)
    style = open_style(made.texture)
    cache = fill_cache(tmp_path, chosen, vae, style, shown, VIEWS)
    for index in range(len(chosen)):
        image, bald = (torch.from_numpy(to_signed(of(index))) for of in (chosen.image, chosen.bald))
        paint, grown = (torch.from_numpy(of(index)).float() for of in (chosen.paint, chosen.hair))
        assert 0 < paint.mean() < 1
        known = torch.where(paint == 1, bald if shown.convention == "bald" else torch.zeros(()), image)
        for view, turn in enumerate((lambda tensor: tensor, lambda tensor: tensor.flip(-1))):
            for field, picture in ((CLEAN, image), (KNOWN, known)):
                found = cache.row(field, index)[view]
                assert found.shape == (4, LATENT, LATENT)
                assert np.allclose(found, encode(vae, turn(picture)[None])[0].numpy(), atol=4e-3)
            mask = cache.row(MASK, index)[view]
            planes = (turn(plane)[None, None] for plane in (paint, grown))
            assert np.allclose(mask, shown.mask(*planes, 2)[0].numpy(), atol=1e-3)
            assert set(np.unique(mask)) > {0, 1} if shown.outline else set(np.unique(mask)) == {0, 1}
        assert np.array_equal(cache.row(MASK, index)[1], cache.row(MASK, index)[0][..., ::-1])
        hair = cv2.imread(str(made.data / chosen.rows[index].hair_only), cv2.IMREAD_UNCHANGED)
        styles = cache.row(STYLE, index)
        assert styles.shape == (len(VIEWS), style.width)
        for view in (0, 1):
            assert np.array_equal(styles[view], style.style(cv2.cvtColor(hair, cv2.COLOR_BGRA2RGBA)))
    alone = fill_cache(tmp_path / "alone", chosen, vae, style, shown, Views())
    assert alone.row(CLEAN, 0).shape == (1, 4, LATENT, LATENT)


def test_what_is_known_says_nothing_of_the_hair() -> None:
    image, bald = noise(1, 3, 8, 8), noise(1, 3, 8, 8, seed=1)
    paint = (noise(1, 1, 8, 8, seed=2) > 0).float()
    other = torch.where(paint == 1, noise(1, 3, 8, 8, seed=3), image)
    for convention in ("bald", "masked"):
        assert torch.equal(*(Shown(convention, True).known(one, bald, paint) for one in (image, other)))
    assert shown_by({"convention": "masked", "outline": False}) == Shown("masked", False)


def test_a_fill_that_was_stopped_computes_what_is_missing_alone(
    made: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latent_cache, "PER_FILE", 3)
    chosen, vae, style = pictures(made, "train"), open_autoencoder(made.autoencoder), open_style(made.texture)
    calls: list[int] = []

    def counted(*given_all: Any) -> Tensor:
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return encode(*given_all)

    def files() -> dict[str, tuple[bytes, int]]:
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}

    monkeypatch.setattr(latent_cache, "encode", counted)
    stop = 9  # in the second file: two calls a picture
    with pytest.raises(KeyboardInterrupt):
        fill_cache(tmp_path, chosen, vae, style, SHOWN, VIEWS)
    assert {path.name for path in tmp_path.iterdir()} == {cache_file(tmp_path, field, 0).name for field in FIELDS}
    first, stop = files(), 0
    calls.clear()
    whole = fill_cache(tmp_path, chosen, vae, style, SHOWN, VIEWS)
    assert len(calls) == 2 * (len(chosen) - 3)
    assert first.items() <= files().items()
    before = files()
    cache_file(tmp_path, KNOWN, 2).unlink()
    calls.clear()
    fill_cache(tmp_path, chosen, vae, style, SHOWN, VIEWS)
    assert len(calls) == 2 * 2  # of eight pictures, three and three and two
    assert {name: content for name, (content, _) in files().items()} == {
        n: content for n, (content, _) in before.items()
    }
    calls.clear()
    fill_cache(tmp_path, chosen, vae, style, SHOWN, VIEWS)
    assert calls == []
    assert np.array_equal(LatentCache(tmp_path, 8, VIEWS).row(CLEAN, 7), whole.row(CLEAN, 7))


def test_a_sample_says_what_is_there(cached: Sources) -> None:
    task = task_of(cached)
    samples = task.valid_samples
    assert len(samples) == SPLITS.count("val")
    for index, row in enumerate(samples.rows):
        clean, _, mask, tokens, pooled, style, identity, there = samples[(0, index)]
        assert clean.shape == (4, LATENT, LATENT)
        assert (mask.min(), mask.max()) == (0, 1)
        assert (tokens.shape, pooled.shape) == ((77, 2 * WIDTH), (2 * WIDTH,))
        assert there.tolist() == [1, 1, 0 if row.identity_missing else 1]
        assert bool(identity.any()) == (not row.identity_missing)
        assert style.any()
    assert {row.identity_missing for row in samples.rows} == {"", "no face"}
    assert len(task.train_samples) == 12
    one, again, later = (task.train_samples[key] for key in ((0, 3), (0, 3), (1, 3)))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(one, later, strict=True))


def test_rows_computed_side_by_side_are_those_computed_one_after_another(
    made: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, vae, style = pictures(made, "train"), open_autoencoder(made.autoencoder), open_style(made.texture)
    threads: set[int] = set()

    def counted(*given_all: Any) -> Tensor:
        threads.add(threading.get_ident())
        assert torch.get_num_threads() == 1 or threading.current_thread() is threading.main_thread()
        return encode(*given_all)

    monkeypatch.setattr(latent_cache, "encode", counted)
    before = torch.get_num_threads()
    caches = [fill_cache(tmp_path / str(n), chosen, vae, style, SHOWN, VIEWS, threads=n) for n in (1, 3)]
    assert len(threads) > 1
    assert torch.get_num_threads() == before
    for field in FIELDS:
        one, other = ([cache.row(field, index) for index in range(len(chosen))] for cache in caches)
        assert np.allclose(one, other, atol=4e-3)
    # A large picture is computed alone, with all the threads there are, for each takes memory of its own.
    monkeypatch.setattr(latent_cache, "AT_ONCE", len(VIEWS) * chosen.size**2 - 1)
    threads.clear()
    fill_cache(tmp_path / "large", chosen, vae, style, SHOWN, VIEWS, threads=3)
    assert threads == {threading.get_ident()}
