"""Hair of other colours: what is not hair keeps its bits, and the style tells of the colour that is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint.tiny import SHOWN, SIZE, VIEWS, pictures, task_of
from inpaint.toy import contents
from visage.inpaint import latent_cache
from visage.inpaint.inpainter_task import Sources
from visage.inpaint.latent_cache import CLEAN, KNOWN, MASK, STYLE, LatentCache, Views, fill_cache
from visage.inpaint.latents import open_autoencoder
from visage.inpaint.picture_set import PictureSet, from_signed
from visage.inpaint.style import COLOURS, colours, open_style
from visage.inpaint.tint import HIGHEST, LOWEST, draw_tint, tint
from visage.inpaint.train_inpainter import Inputs
from visage.io.rgba import encode_rgba, read_rgba
from visage.vision.recolor import to_lab
from visage.vision.resize import resize

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows hold the pictures themselves where latents belong; in float16 they keep every grey level."""
    monkeypatch.setattr(latent_cache, "encode", lambda vae, planes: planes)


def fill(made: Inputs, folder: Path, views: Views, chosen: PictureSet | None = None) -> LatentCache:
    chosen, vae = chosen or pictures(made, "val"), open_autoencoder(made.autoencoder)
    return fill_cache(folder, chosen, vae, open_style(made.texture), SHOWN, views)


def seen(cache: LatentCache, field: str, index: int) -> list[np.ndarray]:
    """The views of a row of `bare`, as pixels."""
    return [from_signed(view.astype(np.float32)) for view in cache.row(field, index)]


def cover_of(chosen: PictureSet, index: int) -> np.ndarray:
    """How much of each pixel is hair, of 0 to 255."""
    alpha = read_rgba(chosen.folder / chosen.rows[index].hair_only)[..., 3]
    return resize(np.ascontiguousarray(alpha), SIZE, SIZE)


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("tints", [0, 1, 3])
def test_views_are_the_picture_then_its_tints_each_with_its_mirror(flips: bool, tints: int) -> None:
    views = Views(flips, tints)
    assert len(views) == (1 + tints) * (2 if flips else 1)
    plain = 2 if flips else 1
    assert [views.is_tinted(view) for view in range(len(views))] == [False] * plain + [True] * (len(views) - plain)


def test_a_tint_changes_the_hair_alone_and_what_is_told_of_it(made: Inputs, tmp_path: Path, bare: None) -> None:
    chosen, style = pictures(made, "val"), open_style(made.texture)
    cache = fill(made, tmp_path, Views(True, 2, 3))
    for index in range(len(chosen)):
        cover, views, known = cover_of(chosen, index), seen(cache, CLEAN, index), seen(cache, KNOWN, index)
        styles, masks = cache.row(STYLE, index), cache.row(MASK, index)
        assert np.array_equal(views[0], chosen.image(index))
        for view in (0, 2, 4):
            assert np.array_equal(views[view + 1], views[view][:, ::-1])
            assert np.array_equal(styles[view + 1], styles[view])
            assert np.array_equal(masks[view], masks[0])
            assert np.array_equal(known[view], known[0])  # it says nothing of the colour
            assert np.array_equal(known[view + 1], known[0][:, ::-1])
        for view in (2, 4):
            assert np.array_equal(views[view][cover == 0], views[0][cover == 0])
            assert float(np.abs(views[view][cover == 255].astype(float) - views[0][cover == 255]).mean()) > 10
            assert np.array_equal(styles[view][:-COLOURS], styles[0][:-COLOURS])
            # What the style tells is the colour of the hair that is shown, though measured on the larger picture.
            of_plain, of_tint = (colours(np.dstack([views[one], np.uint8(cover == 255)])) for one in (0, view))
            apart = float(np.linalg.norm(of_tint - of_plain))
            assert float(np.linalg.norm(styles[0][-COLOURS:] - of_plain)) < apart / 3
            assert float(np.linalg.norm(styles[view][-COLOURS:] - of_tint)) < apart / 3
        assert not np.allclose(styles[2][-COLOURS:], styles[4][-COLOURS:])
    assert style.width == styles.shape[1]


def test_the_style_of_a_tint_has_the_statistics_of_tinted_hair(made: Inputs, tmp_path: Path) -> None:
    chosen, views = pictures(made, "val"), Views(False, 1, 5)
    cache = fill(made, tmp_path, views)
    for index, row in enumerate(chosen.rows):
        hair = read_rgba(made.data / row.hair_only)
        rng = np.random.default_rng((views.seed, index, 8))
        other = tint(np.ascontiguousarray(hair[..., :3]), hair[..., 3] / 255, draw_tint(hair, rng))
        assert np.array_equal(other[hair[..., 3] == 0], hair[..., :3][hair[..., 3] == 0])
        told = cache.row(STYLE, index)[1, -COLOURS:]
        assert np.array_equal(told, colours(np.dstack([other, hair[..., 3]])))


def test_the_seed_and_the_picture_alone_decide_a_tint(made: Inputs, tmp_path: Path) -> None:
    once, again, other = (fill(made, tmp_path / name, Views(True, 1, seed)) for name, seed in
                          (("once", 3), ("again", 3), ("other", 4)))  # fmt: skip
    assert contents(once.folder) == contents(again.folder)
    for index in range(once.count):
        for field in (CLEAN, STYLE):
            one, another = once.row(field, index), other.row(field, index)
            assert np.array_equal(one[:2], another[:2])
            assert not np.array_equal(one[2:], another[2:])


def test_a_picture_without_hair_is_there_as_often_as_the_others(made: Inputs, tmp_path: Path) -> None:
    chosen = pictures(made, "val")
    image = np.zeros((48, 48, 4), np.uint8)
    (tmp_path / "none.png").write_bytes(encode_rgba(image))
    bald = replace(chosen.rows[1], hair_only=str(tmp_path / "none.png"))
    cache = fill(made, tmp_path / "cache", VIEWS, PictureSet(made.data, [chosen.rows[0], bald], SIZE))
    assert cache.row(STYLE, 1).shape == cache.row(STYLE, 0).shape
    assert not cache.row(STYLE, 1).any()
    views = cache.row(CLEAN, 1)
    assert np.array_equal(views[:2], views[2:])


def test_a_sample_of_a_tint_loses_its_prompt(cached: Sources) -> None:
    samples = task_of(cached).train_samples
    cache, counted = samples.cache, [0] * len(VIEWS)
    places = {cache.row(CLEAN, row)[view].tobytes(): (row, view)
              for row in range(len(samples.rows)) for view in range(len(VIEWS))}  # fmt: skip
    assert len(places) == len(samples.rows) * len(VIEWS)
    for key in [(epoch, index) for epoch in range(5) for index in range(len(samples))]:
        clean, known, mask, tokens, pooled, style, _, there = samples[key]
        row, view = places[clean.astype(np.float16).tobytes()]
        counted[view] += 1
        known_one = float(not samples.rows[row].identity_missing)
        assert there.tolist() == [float(not VIEWS.is_tinted(view)), 1, known_one]
        for made, field in ((known, KNOWN), (mask, MASK), (style, STYLE)):
            assert np.array_equal(made, cache.row(field, row)[view].astype(np.float32))
        words, whole = samples.prompts.get(samples.rows[row].text_prompt)
        assert np.array_equal(tokens, words) and np.array_equal(pooled, whole)
    assert min(counted) >= 5  # of 60


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.floats(0, 1))
def test_a_tint_leaves_every_bit_that_is_not_hair(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (9, 12, 3), np.uint8)
    cover = rng.random((9, 12)) * (rng.random((9, 12)) < share)
    kept, shift = image.copy(), rng.uniform(-120, 120, 3).astype(np.float32)
    made = tint(image, cover, shift)
    assert (made.shape, made.dtype) == (image.shape, np.uint8)
    assert np.array_equal(made[cover == 0], kept[cover == 0])
    assert np.array_equal(image, kept)
    full = tint(image, np.ones_like(cover), shift).astype(float)
    assert np.allclose(made, image + (full - image) * cover[..., None], atol=1.01)


def test_a_tint_hits_the_colour_that_was_drawn() -> None:
    rng = np.random.default_rng(2)
    hair = np.dstack([rng.integers(90, 110, (24, 24, 3), np.uint8), np.uint8(255 * (rng.random((24, 24)) < 0.5))])
    there = hair[..., 3] != 0
    wanted, shown, clipped = [], [], 0
    for seed in range(400):
        shift = draw_tint(hair, np.random.default_rng(seed))
        colour = to_lab(np.ascontiguousarray(hair[..., :3]))[there].mean(0) + shift
        wanted.append(colour)
        made = to_lab(tint(np.ascontiguousarray(hair[..., :3]), there.astype(float), shift))[there].mean(0)
        possible = cv2.cvtColor(np.float32(colour)[None, None], cv2.COLOR_LAB2RGB)
        if possible.min() < 0.08 or possible.max() > 0.92 or not 8 < colour[0] < 92:  # no screen shows it
            clipped += 1
            continue
        shown.append(np.abs(made - colour).max())
    assert max(shown) < 2.5
    assert len(shown) > 100
    for low, high, drawn in zip(LOWEST, HIGHEST, np.array(wanted).T, strict=True):  # evenly, whatever the hair was
        assert low <= drawn.min() + 1e-3 and drawn.max() <= high + 1e-3
        assert np.allclose(np.quantile(drawn, [0.25, 0.5, 0.75]), low + (high - low) * np.array([0.25, 0.5, 0.75]),
                           atol=0.08 * (high - low))  # fmt: skip
