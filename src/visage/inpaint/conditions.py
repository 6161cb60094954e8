"""What the inpainter is told beside the picture: the prompt's tokens, a style token and an identity token.

Tokens are concatenated on the sequence; the style also joins the pooled prompt, where it reaches every block: colours
come out twice as near as with the token alone. Each of the three may be missing, in training by chance so that guidance
has something to differ from: a missing prompt is 0 as SDXL's empty one, a missing style or identity a learned token.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

IDENTITY = 512  # numbers of an identity embedding


class Told(NamedTuple):
    """Of N pictures. tokens: (N, T, C) of the prompt. pooled: (N, P). style: (N, S). identity: (N, 512). There are
    (N, 3) float32 of {0, 1} for whether there is a prompt, a style, an identity."""

    tokens: Tensor
    pooled: Tensor
    style: Tensor
    identity: Tensor
    there: Tensor


class Conditioner(nn.Module):
    """Told -> (tokens (N, T + 2, C), pooled (N, P)). cross, pooled, style: C, P and S."""

    def __init__(self, cross: int, pooled: int, style: int) -> None:
        super().__init__()
        self.style = nn.Sequential(nn.Linear(style, cross), nn.LayerNorm(cross))
        self.identity = nn.Sequential(nn.Linear(IDENTITY, cross), nn.GELU(), nn.Linear(cross, cross))
        self.style_pooled = nn.Linear(style, pooled)
        self.no_style = nn.Parameter(torch.zeros(cross))
        self.no_identity = nn.Parameter(torch.zeros(cross))

    def forward(self, told: Told) -> tuple[Tensor, Tensor]:
        """See the class."""
        prompt, style, identity = told.there[:, :, None].unbind(1)
        tokens = told.tokens * prompt[..., None]
        style_token = self.style(told.style) * style + self.no_style * (1 - style)
        identity_token = self.identity(told.identity) * identity + self.no_identity * (1 - identity)
        pooled = told.pooled * prompt + self.style_pooled(told.style) * style
        return torch.cat([tokens, style_token[:, None], identity_token[:, None]], 1), pooled


def time_ids(count: int, size: int, device: torch.device | str = "cpu") -> Tensor:
    """SDXL's micro-conditioning of `count` uncropped pictures, (count, 6): original height and width, crop's top and
    left, target height and width. Training and sampling both ask here."""
    return torch.tensor([[size, size, 0, 0, size, size]], dtype=torch.float32, device=device).expand(count, 6)


def drop(told: Told, each: float, all_three: float) -> Told:
    """`told` with a share `each` of prompts, styles and identities missing, and of a share `all_three` all, by torch's
    generator."""
    chance = torch.rand(len(told.there), 4, device=told.there.device)
    kept = (chance[:, :3] >= each) & (chance[:, 3:] >= all_three)
    return told._replace(there=told.there * kept)


def nothing(told: Told) -> Told:
    """`told` with nothing there: what guidance leads away from."""
    return told._replace(there=torch.zeros_like(told.there))
