"""The encoder behind its normalisation, as a torch module and as an ONNX graph.

Normalisation is part of the graph, so that every backend takes the decoded uint8 pictures as they are.
"""

import io
import warnings

import torch
from torch import Tensor, nn

from visage.errors import ConfigError
from visage.export.card import IMAGENET_MEAN, IMAGENET_STD
from visage.export.to_onnx import LARGEST_WEIGHTS, OPSET

PICTURES, FEATURES = "pictures", "features"


class Normalised(nn.Module):
    """`encoder` behind ImageNet's normalisation: uint8 (N, H, W, 3) RGB -> (N, D)."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """The same steps as `visage.vision.normalise`."""
        return self.encoder((pictures.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std)


def onnx_graph(encoder: nn.Module, size: int, name: str) -> bytes:
    """ONNX of `encoder` (in eval mode) behind its normalisation, "pictures" to "features", for any number of pictures.

    Raises:
        ConfigError: the encoder, called `name`, has no ONNX form.
    """
    remedy = "use features.backend=torch"
    model = Normalised(encoder).eval()
    if sum(tensor.nbytes for tensor in model.state_dict().values()) > LARGEST_WEIGHTS:
        raise ConfigError(f"features.backend=openvino: {name} is larger than an ONNX file may be (2 GiB): {remedy}")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter calls itself deprecated, and warns of each shape that tracing makes constant.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                model,
                # Traced on two pictures: with one, a squeeze of the batch axis would look right.
                (torch.zeros(2, size, size, 3, dtype=torch.uint8),),
                buffer,  # type: ignore[arg-type]
                dynamo=False,
                opset_version=OPSET,
                input_names=[PICTURES],
                output_names=[FEATURES],
                dynamic_axes={PICTURES: {0: "batch"}, FEATURES: {0: "batch"}},
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ConfigError(f"features.backend=openvino: {name} has no ONNX form ({line}): {remedy}") from error
    return buffer.getvalue()
