"""Hair without any model file: a face found by its shape and colours, hair's colours learned around it, then GrabCut.

GrabCut alone forgets where its seeds were: its colour models take whatever is as dark as the hair. So the places come
in twice, as seeds before it (what is surely hair or surely not never changes), and in the confidence after it.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.hair.face_fit import Face, colour_codes, find_face, learn, place_priors

LEAST_SIDE = 16  # pixels; in a smaller picture nothing is looked for
CODES, ROUNDS = 32, 4
CUT_ROUNDS = 3
SURE, NEVER = 0.95, 0.03  # posteriors that seed GrabCut for good
LEAST_SEEDS = 32  # pixels of each side, without which its colour models cannot be made
SMOOTH_PX = 1.0  # of the posteriors before the cut and of the cut after it


def segment_hair(image: NDArray[np.uint8], face: Face | None = None) -> NDArray[np.float32]:
    """Confidence of hair by GrabCut (Rother, Kolmogorov and Blake 2004), seeded by the geometry of a face.

    Deterministic: OpenCV's generator is seeded before each use.

    Args:
        image: H x W x 3 uint8 RGB, of any size; about 256 pixels take a quarter of a second.
        face: where it is, as a detector found it; None to look for it.

    Returns:
        H x W float32 from 0 to 1, at least 0.5 in the cut and below it elsewhere.
    """
    if min(image.shape[:2]) < LEAST_SIDE:
        return np.zeros(image.shape[:2], np.float32)
    priors = place_priors(image.shape[:2], face or find_face(image))  # type: ignore[arg-type]
    posterior, _ = learn(priors, colour_codes(image, CODES), ROUNDS)
    likely = np.asarray(cv2.GaussianBlur(posterior[0], (0, 0), SMOOTH_PX), np.float32)
    mask = cut(image, likely)
    soft = np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), SMOOTH_PX), np.float32)
    # The cut decides the side of 0.5, its blurred edge and the posteriors how far: under a third each, so never across.
    beside = np.where(mask == 1, soft - 0.5, soft).clip(0, 0.5)
    return (0.5 * mask + 0.333 * (beside + likely)).astype(np.float32)


def cut(image: NDArray[np.uint8], likely: NDArray[np.float32]) -> NDArray[np.uint8]:
    """GrabCut from probabilities of hair, H x W: {0, 1} uint8; a plain threshold where either side is nearly empty."""
    labels = np.where(likely > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[likely < NEVER] = cv2.GC_BGD
    labels[likely > SURE] = cv2.GC_FGD
    # Odd labels are hair: GC_FGD is 1 and GC_PR_FGD is 3.
    hair = np.count_nonzero(labels & 1)
    if min(hair, labels.size - hair) < LEAST_SEEDS:
        return (labels & 1).astype(np.uint8)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    cut_labels, *_ = cv2.grabCut(bgr, labels, None, *models, CUT_ROUNDS, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    return (cut_labels & 1).astype(np.uint8)
