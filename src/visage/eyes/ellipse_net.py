"""EllipseRegressionNet: where the pupil is and how large, by a network that keeps position.

Pooling over the whole picture forgets where; here a softmax over the map's cells votes for the centre (soft-argmax),
and the same votes weigh the features from which the radii are read. In training the votes themselves are part of the
answer, because a network that only hears how far off their mean was learns very slowly where to look.
"""

import torch
from torch import Tensor, nn

from visage.eyes.layers import ConvNorm, Standardise, separable

OUTPUTS = 4
# sigmoid(-2.6) = 0.07, the median radius over half the diagonal.
RADIUS_PRIOR = -2.6
# Adam moves every weight by the learning rate: at that of the trunk, radii would jump by ten pixels a step.
RADIUS_PACE = 0.1


class EllipseRegressionNet(nn.Module):
    """(B, 1, H, W) float32 -> (B, 4): cx / W, cy / H, rx / R, ry / R as in `visage.eyes.prepared`; H, W from 8 up.

    In training mode the logarithms of the votes come with it, (B, H/8, W/8). A cell of the trunk's map is 8 pixels wide
    and sees about 150 pixels of a picture of 200 x 320.
    """

    def __init__(self) -> None:
        super().__init__()
        first = nn.Sequential(Standardise(), ConvNorm(1, 8, 3, 2), nn.ReLU())
        shrink = separable(8, 16, 2), separable(16, 32, 2)
        self.trunk = nn.Sequential(
            first, *shrink, separable(32, 32), separable(32, 32, dilation=2), separable(32, 32, dilation=4)
        )
        self.vote = nn.Conv2d(32, 1, 1)
        self.extent = nn.Sequential(separable(32, 32, dilation=2), separable(32, 32))
        self.radii = nn.Linear(32, 2)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features = self.trunk(image)
        size = int(features.shape[2]), int(features.shape[3])
        # Sums of products, not matrix products: autocast would round the position to half precision.
        chances = self.vote(features).flatten(2).float().log_softmax(-1)
        votes = chances.exp()
        centre = (votes * centres(*size).to(votes)).sum(-1)
        seen = (votes * self.extent(features).flatten(2)).sum(-1)
        ellipse = torch.cat((centre, torch.sigmoid(RADIUS_PRIOR + RADIUS_PACE * self.radii(seen).float())), 1)
        return (ellipse, chances.view(-1, *size)) if self.training else ellipse


def centres(height: int, width: int) -> Tensor:
    """The centres of a map's cells as shares of the picture: (2, height x width), x before y."""
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()))
