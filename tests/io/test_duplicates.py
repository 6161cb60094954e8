"""Copies are found whatever a phone or a messenger does to them; different pictures are not joined."""

import time

import cv2
import numpy as np
import pytest

from visage.io.duplicates import FINGERPRINT_BYTES, find_clusters, fingerprint, merge_groups
from visage.io.images import decode, encode_jpeg, read_image

RADIUS = 56


def scene(seed: int, size: int = 160) -> np.ndarray:
    """A picture with structure at all scales."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, 1, (n, n, 3)), (size, size), interpolation=cv2.INTER_CUBIC) for n in (3, 6, 12, 24)
    ]
    image = sum(layer * 60 / (index + 1) for index, layer in enumerate(layers)) + 128
    return np.clip(image, 0, 255).astype(np.uint8)


def brighter(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 1.1, 0, 255).astype(np.uint8)


def cut(image: np.ndarray) -> np.ndarray:
    y, x = (max(1, side // 100) for side in image.shape[:2])
    return image[y:-y, x:-x]


COPIES = {
    "same": lambda image: image,
    "jpeg": lambda image: decode(encode_jpeg(image, 40), "a"),
    "half": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brighter": brighter,
    "darker": lambda image: (image * 0.9).astype(np.uint8),
    "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), max(image.shape) / 250),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "cut by a percent": cut,
    "all of it": lambda image: decode(encode_jpeg(brighter(cut(image)), 60), "a")[:, ::-1],
}


def clusters(*images: np.ndarray, bits: int = RADIUS) -> list[int]:
    return find_clusters(np.stack([fingerprint(np.ascontiguousarray(image)) for image in images]), bits).tolist()


@pytest.mark.parametrize("change", COPIES)
def test_a_copy_is_found_among_other_pictures(change):
    originals = [scene(seed) for seed in range(30)]
    found = clusters(*originals, *(COPIES[change](image) for image in originals[:10]))
    assert found == [*range(30), *range(10)]


@pytest.mark.parametrize("change", COPIES)
def test_copies_of_real_photographs_are_found(portraits, change):
    originals = [read_image(path) for path in sorted(portraits.iterdir()) if "mask" not in path.name]
    found = clusters(*originals, *(COPIES[change](image) for image in originals))
    assert found == [*range(len(originals))] * 2


def test_drawn_portraits_of_one_person_are_joined_within_sessions_at_most():
    from visage.synthetic.draw import Spec, draw

    specs = [Spec(3, person, session, picture, 96) for person in (0, 1) for session in (0, 1, 2) for picture in (0, 1)]
    groups = [f"{spec.person}/{spec.session}" for spec in specs]
    merged = merge_groups(groups, np.array(clusters(*(draw(spec).image for spec in specs))))
    assert merged == groups


def test_plain_colours_are_joined_only_where_they_are_nearly_equal():
    plain = [np.full((40, 40, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 200, 0), (190, 10, 0), (200, 1, 0))]
    assert clusters(*plain) == [0, 1, 2, 0]


def test_recoloured_pictures_are_not_joined():
    image = scene(0)
    assert clusters(image, image[..., [2, 0, 1]].copy()) == [0, 1]


def test_a_negative_radius_finds_nothing():
    assert clusters(scene(0), scene(0), bits=-1) == [0, 1]
    assert clusters(scene(0), scene(0), bits=0) == [0, 0]


def test_an_empty_set_has_no_clusters():
    assert find_clusters(np.zeros((0, FINGERPRINT_BYTES), np.uint8), RADIUS).tolist() == []


def test_ten_thousand_pictures_take_seconds_even_when_all_are_equal():
    rng = np.random.default_rng(0)
    signs = rng.random((10_000, 256)) < 0.5
    bits = np.packbits(np.stack([signs, ~signs], axis=2).reshape(10_000, 512), axis=1)
    prints = np.concatenate([bits, rng.integers(0, 256, (10_000, FINGERPRINT_BYTES - 64), dtype=np.uint8)], axis=1)
    prints[-100:] = prints[:100]
    start = time.monotonic()
    found = find_clusters(prints, RADIUS)
    assert found.tolist() == [*range(9_900), *range(100)]
    assert (find_clusters(np.repeat(prints[:1], 5_000, axis=0), RADIUS) == 0).all()
    assert time.monotonic() - start < 30


def test_groups_are_merged_through_chains_and_named_by_the_first():
    groups = ["c", "b", "b", "a", "d"]
    assert merge_groups(groups, np.array([0, 0, 2, 2, 4])) == ["a", "a", "a", "a", "d"]
