"""What runs an encoder over batches of pictures: torch, the reference, or OpenVINO, the faster one on most CPUs.

Every forward pass has the same shape: a batch that is not full is padded, since libraries choose other kernels for
other shapes, and a picture's features would depend on how many came with it. OpenVINO's workers read a graph that was
written once and never load torch, which saves each of them seconds and most of its memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visage.errors import ConfigError
from visage.features.config import Features
from visage.io.atomic import write_bytes

Pictures = NDArray[np.uint8]
Vectors = NDArray[np.float32]
Run = Callable[[Pictures], Vectors]
Check = Callable[[Features, str], None]
# torch computes SiLU and sigmoid of the last few numbers of a tensor by other code than that of the rest, and so one or
# two pictures of a batch of 7 differed by 1e-6 with their place in it. Sixteen pictures leave no such rest.
TORCH_MULTIPLE = 16
NO_BF16 = "features.precision=bf16: this {} has no bf16: use features.precision=fp32"


Prepare = Callable[[Features, Path], None]
Opener = Callable[[Features, Path, str, int], Run]
GRAPH = "encoder.onnx"


@dataclass(frozen=True)
class Backend:
    """check(settings, device) refuses what this machine cannot do; prepare(settings, folder) writes what workers need.

    open(settings, folder, device, threads) -> the run, which takes at most features.batch_size pictures and pads them.
    """

    check: Check
    prepare: Prepare
    open: Opener


BACKENDS: dict[str, Backend] = {}


def backend(name: str, check: Check, prepare: Prepare) -> Callable[[Opener], Opener]:
    """Register the decorated function as what opens features.backend=`name`."""

    def register(opener: Opener) -> Opener:
        assert name not in BACKENDS, name
        BACKENDS[name] = Backend(check, prepare, opener)
        return opener

    return register


def check_backend(settings: Features, device: str) -> None:
    """Refuse a backend or a precision that this machine cannot do on `device`, "cpu" or "cuda".

    Raises:
        ConfigError: names the key and what to use instead.
    """
    BACKENDS[settings.backend].check(settings, device)


def prepare_backend(settings: Features, folder: Path) -> None:
    """Write what workers need beside the encoder in `folder` (see `load_encoder`), once, before any of them starts.

    Raises:
        ConfigError: the backend cannot run this encoder.
        DataError: the folder holds no encoder.
    """
    BACKENDS[settings.backend].prepare(settings, folder)


def open_backend(settings: Features, folder: Path, device: str, threads: int) -> Run:
    """The encoder in `folder`, after `prepare_backend`, ready for batches; may be called in a process of its own.

    threads: for one forward pass on the CPU; torch's are set for the whole process.

    Returns:
        A function of uint8 (n, size, size, 3) RGB, 1 <= n <= features.batch_size, that gives float32 (n, D).

    Raises:
        ConfigError: as `check_backend`.
        DataError: the folder holds no encoder.
    """
    check_backend(settings, device)
    run = BACKENDS[settings.backend].open(settings, folder, device, threads)
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
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("runtime.device=cuda, but torch sees no GPU here: use runtime.device=cpu")
    if settings.precision == "fp32":
        return
    if device == "cuda":
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ConfigError(NO_BF16.format("graphics card"))
    elif not any(found for name, found in torch.cpu.get_capabilities().items() if "bf16" in name):
        raise ConfigError(NO_BF16.format("processor"))


def _prepare_torch(settings: Features, folder: Path) -> None:
    """Nothing: the weights are there."""


@backend("torch", _check_torch, _prepare_torch)
def open_torch(settings: Features, folder: Path, device: str, threads: int) -> Run:
    """Eager torch, channels last; bf16 by autocast."""
    import torch

    from visage.features.graph import Normalised
    from visage.features.timm_encoders import load_encoder

    torch.set_num_threads(threads)
    model = Normalised(load_encoder(folder)).eval().to(device).to(memory_format=torch.channels_last)
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


def _prepare_openvino(settings: Features, folder: Path) -> None:
    from visage.features.graph import onnx_graph
    from visage.features.timm_encoders import load_encoder

    write_bytes(folder / GRAPH, onnx_graph(load_encoder(folder), settings.size, settings.encoder))


@backend("openvino", _check_openvino, _prepare_openvino)
def open_openvino(settings: Features, folder: Path, device: str, threads: int) -> Run:
    """OpenVINO's CPU plugin, from ONNX: openvino.convert_model would load torch and send telemetry."""
    import openvino

    core = openvino.Core()
    model = core.read_model(folder / GRAPH)
    model.reshape([settings.batch_size, settings.size, settings.size, 3])
    options = {
        # Both default to what the machine has, and then the features would differ between machines.
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[settings.precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Pinned, all processes of a machine share its first cores.
        "ENABLE_CPU_PINNING": False,
    }
    compiled = core.compile_model(model, "CPU", options)
    return lambda pictures: compiled(pictures)[0]
