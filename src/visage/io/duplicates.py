"""Near duplicates: a fingerprint of each picture, clusters of like fingerprints, and the groups they join.

A fingerprint is 512 hash bits and an 8x8 colour thumbnail, and two pictures match when both do. The hash keeps the
sign of 256 DCT coefficients and whether they stand out of the noise at all; the usual 64 signs flip at random in
smooth pictures and do not tell a copy from the same person in another session. Equal pixels have equal
fingerprints, so exact copies need no step of their own. Mirrored copies match too, since flipping is the commonest
augmentation: it only swaps the signs of the odd horizontal frequencies.
"""

from collections.abc import Sequence

import cv2
import numpy as np

FINGERPRINT = "dct512-thumb8-1"
GRID = 16  # DCT coefficients a side
THUMB = 8  # pixels a side
NOISE = 16.0  # a coefficient below is taken as 0; one grey level of noise is 1 of them in a 64x64 picture
WORDS = 2 * GRID * GRID // 64
FILTER_WORDS = 3  # the lowest 96 frequencies decide first, and nearly always
FINGERPRINT_BYTES = 8 * WORDS + THUMB * THUMB * 3
LIKENESS = 0.35  # of the bits set in both, at most this part may differ: guards pictures with few bits
THUMB_MARGIN, THUMB_PART = 2.0, 0.75  # grey levels, plus this part of the thumbnail's own contrast
CELLS = 1 << 21  # pairs compared at once, so that a block stays in the cache
ORDER = np.array(sorted(range(GRID * GRID), key=lambda i: (i // GRID + i % GRID, i)))  # low frequencies first
ODD = (ORDER % GRID) % 2 == 1


def fingerprint(image: np.ndarray) -> np.ndarray:
    """The fingerprint of HxWx3 uint8 RGB: FINGERPRINT_BYTES uint8, the hash and then the thumbnail.

    A pHash (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010) of the 16x16 lowest
    frequencies of a 64x64 grey picture, with two bits a coefficient: above NOISE, below -NOISE.
    """
    grey = cv2.cvtColor(cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    coefficients = cv2.dct(grey.astype(np.float32))[:GRID, :GRID].ravel()[ORDER]
    coefficients[0] = 0.0  # the mean brightness says nothing about the picture
    signs = np.stack([coefficients > NOISE, coefficients < -NOISE], axis=1)
    thumb = cv2.resize(image, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    return np.concatenate([np.packbits(signs), thumb.ravel()])


def find_clusters(prints: np.ndarray, bits: int) -> np.ndarray:
    """Join near duplicates, directly or through others.

    All pairs are compared, 50,000 pictures in seconds; memory stays below 100 MB beside `prints`.

    Args:
        prints: NxFINGERPRINT_BYTES uint8.
        bits: how many of the 512 hash bits may differ; a negative number finds nothing.

    Returns:
        N int64: for each picture the smallest index in its cluster (its own where it is alone).
    """
    labels = np.arange(len(prints))
    plain = _words(prints)
    rows = max(1, CELLS // max(1, len(prints)))
    for table in (plain, _words(_mirrored(prints))):
        for start in range(0, len(prints), rows):
            near = _distance(plain[start : start + rows, :FILTER_WORDS], table[start:, :FILTER_WORDS]) <= bits
            for row in np.flatnonzero(near.any(axis=1)):
                one = start + int(row)
                others = start + np.flatnonzero(near[row])
                others = others[labels[others] != labels[one]]  # what is joined already needs no comparison
                others = _alike(prints, plain, table, one, others, bits)
                if len(others):
                    joined = np.unique(labels[np.append(others, one)])
                    labels[np.isin(labels, joined)] = joined[0]
    return labels


def merge_groups(groups: Sequence[str], clusters: np.ndarray) -> list[str]:
    """Join all groups that share a cluster; returns each picture's group, named as the first (sorted) of those joined.

    Args:
        groups: the group of each picture.
        clusters: from `find_clusters`, in the same order.
    """
    parent = {group: group for group in groups}

    def find(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    for group, leader in zip(groups, clusters.tolist(), strict=True):
        one, other = sorted((find(group), find(groups[leader])))
        parent[other] = one
    return [find(group) for group in groups]


def _alike(
    prints: np.ndarray, plain: np.ndarray, table: np.ndarray, one: int, others: np.ndarray, bits: int
) -> np.ndarray:
    """Which of `others` match picture `one`: the whole hash first, the thumbnails of what is left then."""
    distance = _distance(plain[one : one + 1], table[others])[0]
    near = distance <= bits
    others, distance = others[near], distance[near]
    set_bits = np.bitwise_count(plain[one]).sum(dtype=np.int64) + np.bitwise_count(table[others]).sum(1, dtype=np.int64)
    thumb, thumbs = _thumbs(prints[one : one + 1]), _thumbs(prints[others])
    thumbs = thumbs if table is plain else thumbs[:, :, ::-1]
    contrast = np.minimum(thumb.std(axis=(1, 2)).mean(), thumbs.std(axis=(1, 2)).mean(axis=1))
    apart = np.abs(thumbs - thumb).mean(axis=(1, 2, 3))
    return others[(distance <= LIKENESS * set_bits) & (apart <= THUMB_MARGIN + THUMB_PART * contrast)]


def _distance(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Hamming distances, RxC uint16, between RxW and CxW uint64."""
    total = np.zeros((len(rows), len(columns)), np.uint16)
    for word in range(rows.shape[1]):
        total += np.bitwise_count(rows[:, word, None] ^ columns[None, :, word])
    return total


def _words(prints: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(prints[:, : 8 * WORDS]).view(np.uint64)


def _thumbs(prints: np.ndarray) -> np.ndarray:
    return prints[:, 8 * WORDS :].reshape(-1, THUMB, THUMB, 3).astype(np.float32)


def _mirrored(prints: np.ndarray) -> np.ndarray:
    """The hashes of the mirrored pictures: a flip negates the odd horizontal frequencies."""
    signs = np.unpackbits(prints[:, : 8 * WORDS], axis=1).reshape(len(prints), GRID * GRID, 2)
    signs[:, ODD] = signs[:, ODD, ::-1]
    return np.packbits(signs.reshape(len(prints), 2 * GRID * GRID), axis=1)
