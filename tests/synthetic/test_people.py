"""People, sessions and views: what is fixed by what."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from visage.synthetic.portrait import sample_person, sample_session, sample_view


def test_person_depends_on_seed_and_number_alone() -> None:
    first = sample_person(5, 3)
    for session in range(4):
        sample_session(5, 3, session)
        sample_view(5, 3, session, 1)
        assert sample_person(5, 3) == first
    assert sample_person(6, 3) != first
    assert sample_person(5, 4) != first


def test_sessions_differ_in_light_background_clothes_and_wash() -> None:
    sessions = [sample_session(1, 2, i) for i in range(12)]
    assert len({s.light for s in sessions}) == 12
    assert len({s.clothes for s in sessions}) == 12
    assert len({s.wash for s in sessions}) == 12
    assert len({s.background for s in sessions}) >= 4


def test_views_stay_within_the_stated_angles() -> None:
    views = [sample_view(1, person, 0, picture) for person in range(20) for picture in range(20)]
    degrees = np.rad2deg([[v.yaw, v.pitch, v.roll] for v in views])
    assert (np.abs(degrees).max(0) <= np.array([25.01, 12.01, 12.01])).all()
    assert len({v.seed for v in views}) == len(views)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("curl", {"straight", "wavy", "curly", "tightly curly"}),
        ("strand", {"thin", "normal", "thick"}),
        ("length", {"short", "bob", "medium", "long"}),
        ("bangs", {"none", "full", "side"}),
        ("parting", {"left", "middle", "right", "none"}),
    ],
)
def test_attributes_use_the_vocabulary_and_every_value_occurs(name: str, values: set[str]) -> None:
    counts = Counter(sample_person(0, i).attributes[name] for i in range(400))
    assert set(counts) == values
    assert min(counts.values()) >= 16


def test_population_has_loss_grey_and_every_age_and_tone() -> None:
    people = [sample_person(0, i) for i in range(400)]
    assert {p.hair.loss for p in people} == {"none", "receding", "thinning", "bald"}
    assert np.ptp([p.skin.age for p in people]) > 40
    assert np.ptp([p.skin.tone for p in people]) > 0.8
    assert 0.03 < np.mean([p.hair.grey > 0.5 for p in people]) < 0.4
