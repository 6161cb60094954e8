"""Spoilt portraits: labels stay exact under every layer, and every picture is a function of its numbers alone."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest

from visage.synthetic.draw import Spec, draw
from visage.synthetic.people import sample_person
from visage.synthetic.portrait import Portrait
from visage.synthetic.sessions import sample_session, sample_view
from visage.synthetic.wild import WildSpec, draw_wild, draw_wild_one, render_wild
from visage.synthetic.wild_camera import PADDING
from visage.synthetic.wild_people import compose
from visage.synthetic.wild_plan import HATS, ODDS, Plan, plan_person, plan_session, plan_view, sample_plan
from visage.synthetic.wild_scene import Scene

SPECS = [WildSpec(4, source, view, 48, 0.7) for source, view in itertools.product(range(2), range(4))]


def _digest(p: Portrait) -> str:
    parts = (p.image, p.hair_mask, p.hair_alpha, p.skin_mask, p.landmarks)
    return hashlib.sha256(b"".join(a.tobytes() for a in parts) + repr((p.face_box, p.attributes)).encode()).hexdigest()


def _forced(*tags: str, hat: str = "none", source: int = 1, size: int = 64, seed: int = 9) -> Portrait:
    return render_wild(WildSpec(2, source, 0, size, 1.0), Plan(tags, hat, (200, 40, 120), seed))


def _scene(*tags: str, hat: str = "none", source: int = 1, size: int = 64, seed: int = 9) -> Scene:
    plan = Plan(tags, hat, (200, 40, 120), seed)
    person = sample_person(2, source)
    session = plan_session(sample_session(2, source, 0), person, plan)
    view = plan_view(sample_view(2, source, 0, 0), plan)
    return compose(plan_person(person, plan), session, view, plan, size)[0]


def test_a_spec_gives_the_same_bytes_in_any_order_and_process() -> None:
    forward = [_digest(draw_wild_one(s)) for s in SPECS]
    assert [_digest(draw_wild_one(s)) for s in reversed(SPECS)][::-1] == forward
    assert [_digest(p) for p in draw_wild(SPECS, workers=2)] == forward
    assert len(set(forward)) == len(SPECS)


def test_labels_agree_with_each_other_and_with_the_size() -> None:
    for p in draw_wild(SPECS, workers=1):
        assert p.image.shape == (48, 48, 3) and p.image.dtype == np.uint8
        assert p.hair_mask.dtype == p.hair_alpha.dtype == p.skin_mask.dtype == np.uint8
        assert np.array_equal(p.hair_mask, (p.hair_alpha >= 128).astype(np.uint8))
        assert not (p.hair_mask & p.skin_mask).any()
        assert p.landmarks.shape == (5, 2)


def test_an_unspoilt_picture_is_the_portrait_itself() -> None:
    p, plain = draw_wild_one(WildSpec(4, 2, 3, 64, 0.0)), draw(Spec(4, 2, 3, 0, 64))
    assert p.attributes == {**plain.attributes, "wild": ""}
    for mine, theirs in ((p.image, plain.image), (p.hair_alpha, plain.hair_alpha), (p.skin_mask, plain.skin_mask)):
        assert np.array_equal(mine, theirs)


def test_spoilt_pictures_of_a_small_share_are_among_those_of_a_larger_one() -> None:
    some = [sample_plan(4, source, 0, 0.3) for source in range(300)]
    more = [sample_plan(4, source, 0, 0.8) for source in range(300)]
    assert 60 < sum(plan is not None for plan in some) < 120
    assert all(b == a for a, b in zip(some, more, strict=True) if a is not None)


def test_a_source_keeps_its_person() -> None:
    views = [draw_wild_one(WildSpec(4, 5, view, 32, 1.0)).attributes for view in range(3)]
    names = set(views[0]) - {"wild"}
    assert all({k: v[k] for k in names} == sample_person(4, 5).attributes for v in views)


def test_every_way_of_spoiling_and_every_hat_comes_and_only_those() -> None:
    plans = [plan for source in range(1500) if (plan := sample_plan(0, source, 0, 1.0)) is not None]
    assert {tag for plan in plans for tag in plan.tags} == set(ODDS)
    assert {plan.hat for plan in plans} == {"none", *HATS}
    assert all((plan.hat != "none") == plan.has("hat") for plan in plans)


@pytest.mark.parametrize("tag", sorted(ODDS))
def test_each_way_alone_can_be_drawn_and_changes_the_picture(tag: str) -> None:
    hat = "cap" if tag == "hat" else "none"
    spoilt, without = _forced(tag, hat=hat, source=2, size=32), _forced(source=2, size=32)
    assert not np.array_equal(spoilt.image, without.image)
    assert spoilt.attributes["wild"] == tag


@pytest.mark.parametrize("tag", ["bald", "shaved"])
def test_people_without_hair_have_an_empty_mask(tag: str) -> None:
    for source in range(4):
        assert not _forced(tag, source=source).hair_alpha.any()


IN_FRONT = [*(("hat", kind) for kind in HATS), *((tag, "none") for tag in ("hand", "arm", "object", "scarf"))]


@pytest.mark.parametrize(("tag", "hat"), IN_FRONT)
def test_what_lies_in_front_only_ever_takes_hair_away(tag: str, hat: str) -> None:
    taken = 0.0
    for source in (0, 1, 3):
        scene = _scene(tag, hat=hat, source=source)
        assert (scene.alpha + scene.skin + scene.thing <= 1 + 1e-4).all()
        assert not ((scene.alpha >= 0.5) & (scene.thing > 0.5)).any()
        if hat == "none":  # hair itself is the same hair, so nothing may be added
            bare = _scene(source=source)
            assert (scene.alpha <= bare.alpha + 1e-5).all()
            taken += float(bare.alpha.sum() - scene.alpha.sum())
    assert hat != "none" or taken > 1


def test_light_colour_and_file_leave_the_labels_alone() -> None:
    kept = _forced(source=1).hair_alpha.astype(int)
    for tag in ("dyed", "streaks", "sheen", "busy", "camouflage", "cast", "mono", "faded", "over", "under", "blur",
                "lowres", "sharp", "noise", "jpeg", "murk"):  # fmt: skip
        assert np.array_equal(_forced(tag, source=1).hair_alpha, kept), tag
    for tag in ("shadow", "backlight", "rim"):  # strands are drawn in the order of their shades: edges round otherwise
        assert np.abs(_forced(tag, source=1).hair_alpha - kept).mean() < 0.5, tag


def test_a_hat_hides_the_hair_above_its_line() -> None:
    less = 0
    for source in range(4):
        less += _scene("hat", hat="beanie", source=source).alpha.sum() < _scene(source=source).alpha.sum()
    assert less >= 3


def test_bars_are_the_grey_of_letterboxing_and_hold_no_label() -> None:
    seen = 0
    for seed in range(8):
        p = _forced("bars", size=64, seed=seed)
        grey = (p.image == np.array(PADDING, np.uint8)).all(-1)
        if grey[:, 0].all() or grey[0].all():
            seen += 1
            edge = grey.all(0)[None, :] | grey.all(1)[:, None]
            assert edge.any() and not p.hair_alpha[np.broadcast_to(edge, grey.shape)].any()
    assert seen >= 3


def test_heads_come_in_all_sizes() -> None:
    scales = [plan_view(sample_view(0, i, 0, 0), plan).scale for i in range(400) if (plan := sample_plan(0, i, 0, 1.0))]
    assert min(scales) < 0.06 and max(scales) > 0.38
    assert 0.2 < np.mean(np.array(scales) < 0.15) < 0.5


@pytest.mark.parametrize(
    ("spec", "said"),
    [(WildSpec(0, -1, 0, 64, 0.5), "start at 0"), (WildSpec(0, 0, 0, 64, 1.5), "probability"),
     (WildSpec(0, 0, 0, 16, 1.0), "at least 32")],
)  # fmt: skip
def test_impossible_specs_are_refused(spec: WildSpec, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        draw_wild_one(spec)
