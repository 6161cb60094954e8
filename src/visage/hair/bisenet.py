"""BiSeNet (Yu et al., ECCV 2018) for hair: a shallow path that keeps edges, a deep one that knows what hair is.

Three things differ from the paper, all for the processor: the spatial path has few channels; the context sees the
picture at half its size, a quarter of the work and, for 256 pixels, the size that the pretrained encoder knows, and
what it says is a pyramid of `WIDTH` channels that was pretrained with the encoder; and the head goes back to a quarter
of the input's side, past the edges found there, because an edge of hair is finer than eight pixels. The fusion's
convolution of both paths side by side is a sum of one of each. The paper's two auxiliary heads are there in training.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from visage.features.pyramid import WIDTH, Answer, ConvNorm, Gate, Pyramid, like
from visage.hair.context import Context

# Channels of the spatial path at strides 2, 4 and 8.
SPATIAL = (16, 32, 48)


class SegmenterOutput(NamedTuple):
    """What a hair network gives in training mode; in evaluation mode it gives `logits` alone.

    logits: (N, 2, H, W), background and hair. coarse: further logits (N, 2, H/s, W/s), each to be compared with the
    truth averaged over its cells. detail: (N, 2, H/4, W/4), to be compared near edges alone, of matting networks.
    """

    logits: Tensor
    coarse: tuple[Tensor, ...]
    detail: Tensor | None = None


class BiSeNet(nn.Module):
    """(N, 3, H, W) normalised, H and W multiples of 32 -> logits (N, 2, H, W); see `SegmenterOutput`.

    whole: the context sees the picture at its full size, which finds smaller heads and costs a half more.
    """

    def __init__(self, context: Context, whole: bool = False) -> None:
        super().__init__()
        self.context, self.whole = context, whole
        self.pyramid = Pyramid(context.channels)
        half, quarter, eighth = SPATIAL
        self.edges = nn.Sequential(ConvNorm(3, half, 3, 2), ConvNorm(half, quarter, 3, 2))
        self.spatial = nn.Sequential(ConvNorm(quarter, eighth, 3, 2), nn.Conv2d(eighth, WIDTH, 1, bias=False))
        self.norm = nn.Sequential(nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True))
        self.choose = Gate(WIDTH)
        self.fused = nn.Sequential(ConvNorm(WIDTH, WIDTH), nn.Conv2d(WIDTH, quarter, 1, bias=False))
        self.head = nn.Sequential(ConvNorm(quarter, quarter), Answer(quarter))

    def forward(self, images: Tensor) -> Tensor | SegmenterOutput:
        seen = images if self.whole else functional.avg_pool2d(images, 2)
        deep, coarse = self.pyramid(self.context(seen))
        if self.whole:
            deep = functional.avg_pool2d(deep, 2)  # to the stride of the spatial path
        edges = self.edges(images)
        both = self.norm(deep + self.spatial(edges))
        fused = self.fused(both + self.choose(both))
        logits = like(self.head(like(fused, edges) + edges), images)
        return SegmenterOutput(logits, coarse) if self.training else logits
