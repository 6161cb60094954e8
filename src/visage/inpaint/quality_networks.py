"""What networks say of an inpainted picture: LPIPS within the hair, and what the texture encoder sees of its strands.

LPIPS with random weights gives numbers too, so without a file of weights there is no LPIPS. The encoder is shown parts
that lie within the hair, mirrored up to the size it knows: it can then read no outline, and strands keep their width.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from visage.export.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from visage.inpaint.picture_set import to_signed
from visage.inpaint.quality import Image, Mask
from visage.inpaint.texture_data import even_strands
from visage.inpaint.texture_net import TextureNetwork
from visage.inpaint.trunks import trunk_state
from visage.vision.normalise import normalise
from visage.vision.resize import resize

LPIPS_FILE = "tryout.lpips_file"
LEAST_CROP = 64  # pixels a side that LPIPS sees at least
OUTLINE = 0.01  # of the side: how far within the hair parts begin
# Parts of the hair as shares of the side that the encoder was trained on, the largest that fits: mirrored ones of a
# half told curl nearly as well as whole parts with an outline, of a third no longer.
SHARES = (1.0, 0.8, 0.65, 0.5)
LOOKS = 8


class Lpips:
    """The learned perceptual distance (Zhang et al., CVPR 2018, version 0.1) with the trunk `net`."""

    def __init__(self, network: nn.Module, net: str) -> None:
        self.network, self.net = network.requires_grad_(False).eval(), net

    def __call__(self, result: Image, truth: Image) -> float:
        """The distance of two pictures of one size, from 0 up."""
        with torch.inference_mode():
            return float(self.network(*(torch.from_numpy(to_signed(image))[None] for image in (result, truth))))


def open_lpips(net: str, file: str | None) -> Lpips | None:
    """LPIPS with the trunk's weights in `file` (torchvision's state dict) and the package's own heads; None without a
    file or without the package, and then it is not measured.

    Args:
        net: "vgg", "alex" or "squeeze". Numbers of different nets cannot be compared.

    Raises:
        MissingWeightsError: the file is not there.
        VisageError: it is something else, or of another architecture.
    """
    if file is None:
        return None
    try:
        import lpips  # type: ignore[import-untyped]
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision in an old way
        network = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    trunk = {name.partition(".")[2]: name for name in network.net.state_dict()}  # "0.weight" is its "slice1.0.weight"
    state = trunk_state(net, file, LPIPS_FILE, {name: network.net.state_dict()[own] for name, own in trunk.items()})
    network.net.load_state_dict({own: state[name] for name, own in trunk.items()})
    heads = torch.load(
        Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth", map_location="cpu", weights_only=True
    )
    for name, head in network.named_children():
        if name.startswith("lin") and name != "lins":  # `lins` are the same layers once more
            head.load_state_dict({"model.1.weight": heads.pop(f"{name}.model.1.weight")})
    assert not heads, heads.keys()
    return Lpips(network, net)


def lpips_on_hair(judge: Lpips | None, result: Image, truth: Image, mask: Mask) -> float | None:
    """LPIPS of the square about the mask, with the truth wherever the mask is not; not resized. None without a judge,
    and for an empty mask."""
    if judge is None or not mask.any():
        return None
    part = square_about(mask)
    return judge(np.where(mask[..., None], result, truth)[part], truth[part])


def square_about(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns of the square that holds the mask, at least `LEAST_CROP` pixels a side; cut to the picture."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    side = max(width, height, LEAST_CROP)
    starts = (top + (height - side) // 2, left + (width - side) // 2)
    sides = [min(side, length) for length in mask.shape]
    corners = [min(max(0, start), full - part) for start, full, part in zip(starts, mask.shape, sides, strict=True)]
    return slice(corners[0], corners[0] + sides[0]), slice(corners[1], corners[1] + sides[1])


def texture_distance(
    network: TextureNetwork, config: Mapping[str, Any], one: Image, other: Image, mask: Mask, looks: int = LOOKS,
    seed: int = 0,
) -> float | None:  # fmt: skip
    """1 - the cosine of the mean embeddings of parts of the hair, at the same places of both pictures; None where no
    part fits into the mask.

    network, config: of `texture_net.load_network`. looks: how many parts. seed: of the places.
    """
    parts = [inner_looks(image, mask, config, looks, seed) for image in (one, other)]
    if parts[0] is None or parts[1] is None:
        return None
    with torch.inference_mode():
        one_mean, other_mean = (network(torch.from_numpy(views)).embedding.double().mean(0) for views in parts)
    return float(1 - functional.normalize(one_mean, dim=0) @ functional.normalize(other_mean, dim=0))


def curl_probe(
    network: TextureNetwork, config: Mapping[str, Any], image: Image, mask: Mask, looks: int = LOOKS, seed: int = 0
) -> NDArray[np.float64] | None:
    """How likely each curl is (4,), by the encoder's head, the mean over parts within the hair; None where none fits.
    Arguments as for `texture_distance`."""
    views = inner_looks(image, mask, config, looks, seed)
    if views is None:
        return None
    with torch.inference_mode():
        curl: Tensor = network(torch.from_numpy(views)).curl
    return curl.double().softmax(1).mean(0).numpy()


def inner_looks(
    image: Image, mask: Mask, config: Mapping[str, Any], looks: int, seed: int
) -> NDArray[np.float32] | None:
    """`looks` parts of the strands that lie wholly within the mask, looks x 3 x S x S float32, or None where not even
    the smallest of `SHARES` fits.

    The places depend on the mask and the seed alone. A part smaller than the encoder's is brought to the encoder's
    scale and mirrored, so that strands are as wide as it knows them.
    """
    lines, there = even_strands(np.dstack([image, mask.astype(np.uint8) * 255]))
    edge = max(1, round(OUTLINE * len(mask)))
    inside = cv2.erode(there, np.ones((2 * edge + 1, 2 * edge + 1), np.uint8))
    total = cv2.integral(inside)
    for share in SHARES:
        side = max(1, round(share * config["part"] * len(mask)))
        if side > min(mask.shape):
            continue
        covered = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
        places = np.argwhere(covered == side * side)
        if len(places):
            break
    else:
        return None
    size, shown = config["size"], max(1, round(share * config["size"]))
    preprocessing = Preprocessing(size, size, IMAGENET_MEAN, IMAGENET_STD)
    views = []
    for y, x in places[np.random.default_rng(seed).integers(0, len(places), looks)]:
        part = resize(lines[y : y + side, x : x + side], shown, shown)
        tiled = np.pad(part, ((0, size - shown), (0, size - shown)), mode="symmetric")
        views.append(normalise(np.repeat(tiled[..., None], 3, axis=2), preprocessing))
    return np.stack(views)
