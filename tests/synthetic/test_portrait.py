"""One portrait: labels agree with pixels, and the bald twin is the same picture without hair."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visage.synthetic.draw import Spec, draw
from visage.synthetic.portrait import Portrait, render, sample_person, sample_session, sample_view


def _pair(person: int, size: int = 160) -> tuple[Portrait, Portrait]:
    return draw(Spec(2, person, 1, 0, size)), draw(Spec(2, person, 1, 0, size, bald=True))


@pytest.mark.parametrize("size", [32, 64, 97, 131])
def test_any_size_gives_consistent_shapes_and_types(size: int) -> None:
    p = draw(Spec(0, 1, 0, 0, size))
    assert p.image.shape == (size, size, 3)
    for plane in (p.hair_mask, p.hair_alpha, p.skin_mask):
        assert plane.shape == (size, size)
        assert plane.dtype == np.uint8
    assert p.image.dtype == np.uint8
    assert p.landmarks.shape == (5, 2)
    assert p.landmarks.dtype == np.float32
    assert len(p.face_box) == 4


def test_labels_scale_with_the_picture() -> None:
    small, large = draw(Spec(0, 7, 0, 0, 80)), draw(Spec(0, 7, 0, 0, 240))
    np.testing.assert_allclose(large.landmarks / 3, small.landmarks, atol=0.6)
    np.testing.assert_allclose(np.array(large.face_box) / 3, small.face_box, atol=1.0)
    shrunk = cv2.resize(large.hair_mask.astype(np.float32), (80, 80), interpolation=cv2.INTER_AREA) >= 0.5
    both, either = (shrunk & (small.hair_mask > 0)).sum(), (shrunk | (small.hair_mask > 0)).sum()
    assert both / either > 0.75


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**4), st.integers(0, 50), st.integers(0, 50), st.integers(32, 140))
def test_invariants_hold_for_any_spec(seed: int, person: int, session: int, picture: int, size: int) -> None:
    p = draw(Spec(seed, person, session, picture, size))
    np.testing.assert_array_equal(p.hair_mask, p.hair_alpha >= 128)
    assert not (p.hair_mask & p.skin_mask).any()
    assert set(np.unique(p.skin_mask)) <= {0, 1}
    x0, y0, x1, y1 = p.face_box
    assert (p.landmarks > np.array([x0, y0])).all()
    assert (p.landmarks < np.array([x1, y1])).all()
    inside = (min(x1, size) - max(x0, 0)) * (min(y1, size) - max(y0, 0))
    assert inside > 0.85 * (x1 - x0) * (y1 - y0)
    right_eye, left_eye, _, right_mouth, left_mouth = p.landmarks
    assert right_eye[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < min(right_mouth[1], left_mouth[1])
    assert p.skin_mask.sum() > 0.01 * size * size
    assert p.image.std() > 4


def test_hair_mask_lies_where_hair_changed_the_picture() -> None:
    for person in range(6):
        hairy, bald = _pair(person)
        change = np.abs(hairy.image.astype(int) - bald.image.astype(int)).sum(-1)
        mask = hairy.hair_mask > 0
        away = cv2.dilate(hairy.hair_alpha, np.ones((41, 41), np.uint8)) == 0
        assert mask.any()
        assert np.median(change[mask]) > 8 * max(np.median(change[away]), 1)


def test_bald_twin_has_no_hair_and_equal_pixels_away_from_it() -> None:
    """A JPEG block (16 x 16, for its chroma is subsampled) that neither hair, its blur nor its shadow reaches decodes
    to the same bytes.
    """
    size = 256
    compared = 0
    for person in range(4):
        hairy, bald = _pair(person, size)
        assert not bald.hair_mask.any()
        assert not bald.hair_alpha.any()
        np.testing.assert_array_equal(hairy.landmarks, bald.landmarks)
        assert hairy.face_box == bald.face_box
        reach = (
            2 * (size // 8) + 1
        )  # blur, shadow and the decoder's chroma interpolation together stay within an eighth
        near = cv2.dilate(hairy.hair_alpha, np.ones((reach, reach), np.uint8)) > 0
        free = ~near.reshape(size // 16, 16, size // 16, 16).any(axis=(1, 3))
        same = (hairy.image == bald.image).all(-1).reshape(size // 16, 16, size // 16, 16).all(axis=(1, 3))
        compared += int(free.sum())
        assert same[free].all()
    assert compared > 20


def test_bald_twin_keeps_at_least_the_skin() -> None:
    hairy, bald = _pair(3)
    assert bald.skin_mask.sum() > hairy.skin_mask.sum()
    assert not (hairy.skin_mask & ~bald.skin_mask & 1).any()


def test_pictures_of_a_session_share_their_light_and_differ_in_view() -> None:
    a, b = draw(Spec(2, 5, 1, 0, 96)), draw(Spec(2, 5, 1, 1, 96))
    assert a.attributes == b.attributes
    assert not np.allclose(a.landmarks, b.landmarks, atol=0.5)


def test_too_small_a_picture_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        draw(Spec(0, 0, 0, 0, 16))


def _texture(person: int, size: int, curl: str, strand: str = "normal") -> Portrait:
    base = sample_person(9, person)
    session, view = sample_session(9, person, 0), sample_view(9, person, 0, 0)
    style = replace(base.hair, curl=curl, strand=strand, colour="brown", grey=0.0, loss="none")
    style = replace(style, length="medium", bangs="none", parting="middle")
    calm = replace(session, noise=0.0, wash=replace(session.wash, frizz=0.2))
    return render(replace(base, hair=style), calm, replace(view, blur=0.2, yaw=0.0, roll=0.0), size)


def _coherence(p: Portrait) -> float:
    """Mean structure-tensor coherence of the hair's inside, 0 (no common direction nearby) .. 1 (parallel strands)."""
    grey = cv2.cvtColor(p.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gx, gy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.GaussianBlur(v, (0, 0), 8) for v in (gx * gx, gy * gy, gx * gy))
    coherence = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy + 1e-3)
    return float(coherence[cv2.erode(p.hair_mask, np.ones((9, 9), np.uint8)) > 0].mean())


def _fineness(p: Portrait) -> float:
    """Share of the hair's contrast that is finer than about 1.5 pixels."""
    grey = cv2.cvtColor(p.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    inside = cv2.erode(p.hair_mask, np.ones((9, 9), np.uint8)) > 0
    fine, coarse = grey - cv2.GaussianBlur(grey, (0, 0), 1), grey - cv2.GaussianBlur(grey, (0, 0), 4)
    return float(fine[inside].std() / coarse[inside].std())


def test_curl_types_order_by_how_parallel_strands_run() -> None:
    values = [
        np.mean([_coherence(_texture(i, 320, curl)) for i in range(3)])
        for curl in ("straight", "wavy", "curly", "tightly curly")
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 0.1


def test_strand_widths_order_by_how_fine_the_texture_is() -> None:
    values = [
        np.mean([_fineness(_texture(i, 512, "straight", strand)) for i in range(2)])
        for strand in ("thin", "normal", "thick")
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1.05 * values[-1]
