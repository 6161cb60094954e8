"""How near an inpainted picture comes to the truth, from its pixels; what networks say of it is in quality_networks.py.

PSNR alone rewards blur, so fine contrast stands beside it. Pictures are H x W x 3 RGB uint8 and masks H x W of bool;
where the mask is empty there is nothing to measure, and the answer is None, never a number.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from visage.metrics.rounding import NOT_MEASURED, rounded
from visage.vision.palette import delta_e, srgb_to_lab

SIGMA = 1.2 / 128  # of the blur that fine contrast is the rest of, as a share of the shorter side
EDGE = 2.5  # sigmas from the outline that are not read
IDENTICAL = "identical"  # what metrics hold for an infinite PSNR

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Measured = Mapping[str, float | None]


class Ssim(NamedTuple):
    """Structural similarity over the `whole` picture, and averaged over the `hair`; 1 is the same."""

    whole: float
    hair: float | None


def masked_psnr(result: Image, truth: Image, mask: Mask) -> float | None:
    """Peak signal-to-noise ratio within the mask in dB: 10 log10(1 / MSE) of values of 0 to 1, infinite where nothing
    differs."""
    if not mask.any():
        return None
    error = float(np.square((result[mask].astype(np.float64) - truth[mask]) / 255).mean())
    return 10 * math.log10(1 / error) if error else math.inf


def background_psnr(result: Image, truth: Image, mask: Mask) -> float | None:
    """`masked_psnr` of what is not within the mask."""
    return masked_psnr(result, truth, ~mask)


def ssim(result: Image, truth: Image, mask: Mask) -> Ssim:
    """Wang et al. 2004 with a Gaussian window of 1.5 pixels, each channel by itself; both sides at least 6 pixels."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    # In float64, which numpy would make of them, the grouped convolution takes 65 times as long.
    one, other = (torch.from_numpy(image.transpose(2, 0, 1)[None] / np.float32(255)) for image in (result, truth))
    whole, pixels = structural_similarity_index_measure(one, other, data_range=1.0, return_full_image=True)
    return Ssim(float(whole), float(pixels[0].mean(0)[torch.from_numpy(mask)].mean()) if mask.any() else None)


def median_colour(image: Image, mask: Mask) -> NDArray[np.float64] | None:
    """The medians of L*, a* and b* within the mask; two of them are compared by `delta_e` (CIE76)."""
    return np.median(srgb_to_lab(image[mask]), axis=0) if mask.any() else None


def fine_contrast(image: Image, mask: Mask) -> float | None:
    """How much strands stand out: the root mean square, in grey levels, of the brightness less its neighbourhood's
    mean, well within the mask: nothing outside it or on its outline is read. None where the mask has no inside."""
    sigma = SIGMA * min(mask.shape)
    reach = max(1, round(EDGE * sigma))
    inside = cv2.erode(mask.astype(np.float32), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    if not inside.any():
        return None
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean, share = (cv2.GaussianBlur(plane, (0, 0), sigma)[inside > 0] for plane in (grey * inside, inside))
    return float(np.sqrt(np.square(grey[inside > 0] - mean / share).mean()))


def mean_colour(truth: Image, bald: Image, mask: Mask) -> Image:
    """A baseline that knows the answer's colour and nothing else: the bald picture with the hair's mean colour. (That
    of OpenCV's inpainting is the bald picture itself.)"""
    painted = bald.copy()
    if mask.any():
        painted[mask] = np.rint(truth[mask].mean(0)).astype(np.uint8)
    return painted


def measure(result: Image, truth: Image, mask: Mask) -> dict[str, float | None]:
    """What pixels say of a result: hair_psnr and background_psnr (dB), hair_ssim and ssim, delta_e of the hair's median
    colours (CIE76), contrast (`fine_contrast`) and contrast_share, that over the truth's."""
    similar = ssim(result, truth, mask)
    colours = median_colour(result, mask), median_colour(truth, mask)
    contrast, wanted = fine_contrast(result, mask), fine_contrast(truth, mask)
    return {
        "hair_psnr": masked_psnr(result, truth, mask),
        "background_psnr": background_psnr(result, truth, mask),
        "hair_ssim": similar.hair,
        "ssim": similar.whole,
        "delta_e": None if colours[0] is None or colours[1] is None else float(delta_e(colours[0], colours[1])),
        "contrast": contrast,
        "contrast_share": contrast / wanted if contrast is not None and wanted else None,
    }


def summarise(pictures: Sequence[Measured]) -> dict[str, Any]:
    """mean and median of each measurement over the pictures that have it, and how many do; "not measured" where none
    has.

    The mean leaves out infinite values, which would hide all others; "identical" stands where every value, or the
    median, is infinite.
    """
    names = dict.fromkeys(name for picture in pictures for name in picture)
    return {name: _summary([picture.get(name) for picture in pictures]) for name in names}


def _summary(values: Sequence[float | None]) -> Any:
    known = [value for value in values if value is not None]
    if not known:
        return NOT_MEASURED
    finite = [value for value in known if value != math.inf]
    median = float(np.median(known))
    return rounded(
        {
            "mean": float(np.mean(finite)) if finite else IDENTICAL,
            "median": IDENTICAL if median == math.inf else median,
            "pictures": len(known),
        }
    )
