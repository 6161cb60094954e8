"""What runs an encoder over batches of pictures: torch, the reference, or OpenVINO, the faster one on most CPUs.

Every forward pass has the same shape: a batch that is not full is padded, since libraries choose other kernels for
other shapes, and a picture's features would depend on how many came with it. Normalisation is part of the graph, so
that a backend takes the decoded uint8 pictures as they are.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from visage.errors import ConfigError
from visage.export.to_onnx import LARGEST_WEIGHTS, OPSET
from visage.features.config import Features
from visage.features.encoders import IMAGENET_MEAN, IMAGENET_STD
from visage.features.timm_encoders import load_encoder

Pictures = NDArray[np.uint8]
Vectors = NDArray[np.float32]
Run = Callable[[Pictures], Vectors]
Check = Callable[[Features, str], None]
# torch computes SiLU and sigmoid of the last few numbers of a tensor by other code than that of the rest, and so one or
# two pictures of a batch of 7 differed by 1e-6 with their place in it. Sixteen pictures leave no such rest.
TORCH_MULTIPLE = 16
NO_BF16 = "features.precision=bf16: this {} has no bf16: use features.precision=fp32"


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


Opener = Callable[[Normalised, Features, str, int], Run]


@dataclass(frozen=True)
class Backend:
    """check(settings, device) refuses what this machine cannot do; open(model, settings, device, threads) -> the run.

    The run takes and gives exactly features.batch_size pictures.
    """

    check: Check
    open: Opener


BACKENDS: dict[str, Backend] = {}


def backend(name: str, check: Check) -> Callable[[Opener], Opener]:
    """Register the decorated function as what opens features.backend=`name`."""

    def register(opener: Opener) -> Opener:
        assert name not in BACKENDS, name
        BACKENDS[name] = Backend(check, opener)
        return opener

    return register


def check_backend(settings: Features, device: str) -> None:
    """Refuse a backend or a precision that this machine cannot do on `device`, "cpu" or "cuda".

    Raises:
        ConfigError: names the key and what to use instead.
    """
    BACKENDS[settings.backend].check(settings, device)


def open_backend(settings: Features, folder: Path, device: str, threads: int) -> Run:
    """The encoder in `folder` (see `load_encoder`), ready for batches; may be called in a process of its own.

    threads: for one forward pass on the CPU; torch's are set for the whole process.

    Returns:
        A function of uint8 (n, size, size, 3) RGB, 1 <= n <= features.batch_size, that gives float32 (n, D).

    Raises:
        ConfigError: as `check_backend`, or the backend cannot run this encoder.
        DataError: the folder holds no encoder.
    """
    check_backend(settings, device)
    run = BACKENDS[settings.backend].open(Normalised(load_encoder(folder)).eval(), settings, device, threads)
    shape = (settings.batch_size, settings.size, settings.size, 3)

    def features(pictures: Pictures) -> Vectors:
        count = len(pictures)
        assert pictures.dtype == np.uint8 and pictures.shape[1:] == shape[1:] and 0 < count <= shape[0], pictures.shape
        batch = np.ascontiguousarray(pictures)
        if count < shape[0]:
            batch = np.zeros(shape, np.uint8)
            batch[:count] = pictures
        return run(batch)[:count].copy()

    return features


def _check_torch(settings: Features, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("runtime.device=cuda, but torch sees no GPU here: use runtime.device=cpu")
    if settings.precision == "fp32":
        return
    if device == "cuda":
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ConfigError(NO_BF16.format("graphics card"))
    elif not any(found for name, found in torch.cpu.get_capabilities().items() if "bf16" in name):
        raise ConfigError(NO_BF16.format("processor"))


@backend("torch", _check_torch)
def open_torch(model: Normalised, settings: Features, device: str, threads: int) -> Run:
    """Eager torch, channels last; bf16 by autocast."""
    torch.set_num_threads(threads)
    model = model.to(device).to(memory_format=torch.channels_last)
    half = settings.precision == "bf16"
    rows = -(-settings.batch_size // TORCH_MULTIPLE) * TORCH_MULTIPLE
    # Copies from pinned memory do not wait; it may be written again because the features are waited for.
    staging = torch.zeros(rows, settings.size, settings.size, 3, dtype=torch.uint8, pin_memory=device == "cuda")

    @torch.inference_mode()
    def run(pictures: Pictures) -> Vectors:
        staging[: len(pictures)] = torch.from_numpy(pictures)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            features = model(staging.to(device, non_blocking=True))
        return features.float().cpu().numpy()

    return run


def _check_openvino(settings: Features, device: str) -> None:
    if device != "cpu":
        raise ConfigError(
            f"features.backend=openvino runs on the CPU, runtime.device={device}: use features.backend=torch"
        )
    import openvino

    if settings.precision == "bf16" and "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ConfigError(NO_BF16.format("processor"))


@backend("openvino", _check_openvino)
def open_openvino(model: Normalised, settings: Features, device: str, threads: int) -> Run:
    """OpenVINO's CPU plugin, from ONNX in memory: openvino.convert_model would send telemetry."""
    import openvino

    core = openvino.Core()
    example = torch.zeros(settings.batch_size, settings.size, settings.size, 3, dtype=torch.uint8)
    options = {
        # Both default to what the machine has, and then the features would differ between machines.
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[settings.precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Pinned, all processes of a machine share its first cores.
        "ENABLE_CPU_PINNING": False,
    }
    compiled = core.compile_model(core.read_model(_onnx(model, example, settings.encoder)), "CPU", options)
    return lambda pictures: compiled(pictures)[0]


def _onnx(model: Normalised, example: Tensor, name: str) -> bytes:
    """ONNX of `model` for batches of exactly `example`'s shape."""
    remedy = "use features.backend=torch"
    if sum(tensor.nbytes for tensor in model.state_dict().values()) > LARGEST_WEIGHTS:
        raise ConfigError(f"features.backend=openvino: {name} is larger than an ONNX file may be (2 GiB): {remedy}")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter calls itself deprecated, and warns of each shape that tracing makes constant.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(model, (example,), buffer, dynamo=False, opset_version=OPSET)  # type: ignore[arg-type]
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ConfigError(f"features.backend=openvino: {name} has no ONNX form ({line}): {remedy}") from error
    return buffer.getvalue()
