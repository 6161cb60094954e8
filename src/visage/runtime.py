"""How a process runs: allocator, threads, seeds, determinism, device - set once at the start of every stage and worker.

Whatever changes bits (threads, processes, precision, device) is a parameter and never guessed. The allocator call is
the one free win: glibc gives large blocks back after every forward pass and pages them in again; keeping them is worth
1.2 - 2.8x on CPU. It is done in the process, because a launcher's environment may undo it (Dask's nanny does).
"""

import ctypes
import math
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from visage.errors import ConfigError

if TYPE_CHECKING:
    import torch

DEVICES = ("cpu", "cuda")
PRECISIONS = ("fp32", "bf16", "fp16")
LAYOUTS = ("contiguous", "channels_last")
RESULT_FIELDS = ("device", "processes", "threads", "precision", "layout", "deterministic")
# mallopt's parameters, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


@dataclass
class Runtime:
    """The `runtime` section of params.yaml.

    device: "cpu" or "cuda". processes: data-parallel processes on the CPU (on GPUs `accelerate launch` decides).
    threads: torch threads in each process. loaders: data loading processes beside each training process. precision:
    "fp32", or on a GPU "bf16" and "fp16" by autocast. layout: memory format of pictures in training. deterministic:
    exact repetition rather than the fastest kernels (matters on a GPU). memory_gb: what all processes (or the GPU) may
    use together. max_minutes: save and stop unfinished after so long, 0 for never. The last two and `loaders` change no
    result.
    """

    device: str = MISSING
    processes: int = MISSING
    threads: int = MISSING
    loaders: int = MISSING
    precision: str = MISSING
    layout: str = MISSING
    deterministic: bool = MISSING
    memory_gb: float = MISSING
    max_minutes: float = MISSING

    def results(self) -> dict[str, Any]:
        """The values that change bits: what a resume state is keyed by."""
        return {name: getattr(self, name) for name in RESULT_FIELDS}


def tune(runtime: Runtime) -> None:
    """Set the allocator and the thread counts that libraries read when they load; call before torch is imported.

    Raises:
        ConfigError: a value outside the choices named in `Runtime`.
    """
    for key, choices in (("device", DEVICES), ("precision", PRECISIONS), ("layout", LAYOUTS)):
        check_choice(f"runtime.{key}", getattr(runtime, key), choices)
    check_ranges("runtime", runtime, {"processes": (1, 256), "threads": (1, 1024), "loaders": (0, 256)})
    check_ranges("runtime", runtime, {"memory_gb": (0, math.inf), "max_minutes": (0, math.inf)})
    if runtime.device == "cuda" and runtime.processes > 1:
        raise ConfigError("runtime.processes is for CPUs: with a GPU use runtime=cuda (or runtime.processes=1)")
    if runtime.device == "cpu" and runtime.precision != "fp32":
        raise ConfigError(
            f"runtime.precision={runtime.precision} with runtime.device=cpu: half precision slows CPU training down "
            "and rounds it coarsely: use runtime.precision=fp32"
        )
    keep_freed_memory()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(runtime.threads)
    # A thread that waits for the others spins, by default for so long that beside another busy process most of the time
    # goes into spinning: 6 pictures/s instead of 120 were measured. This long costs a quiet machine nothing.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # cuBLAS repeats its sums in the same order only with a fixed workspace.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def check_choice(key: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value that is none of `choices`.

    Raises:
        ConfigError: names `key` and the choices.
    """
    if value not in choices:
        raise ConfigError(f"{key}={value}: choose one of {', '.join(choices)}")


def check_ranges(section: str, settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse a value of `settings` outside its closed range.

    Raises:
        ConfigError: names the first such key as `section`.key, with the range.
    """
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            limits = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise ConfigError(f"{section}.{name}={value}: it must be {limits}")


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks for the next forward pass; returns whether there is a glibc to tell."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, (1 << 31) - 1), (M_TOP_PAD, 64 << 20))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)


def torch_device(runtime: Runtime, seed: int) -> "torch.device":
    """Import torch, apply threads, seed and determinism, and return the device that was asked for.

    Raises:
        ConfigError: runtime.device=cuda where torch sees no GPU.
    """
    import torch

    torch.set_num_threads(runtime.threads)
    torch.manual_seed(seed)
    if runtime.device == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError("runtime.device=cuda, but torch sees no GPU here: use runtime.device=cpu")
        torch.backends.cudnn.benchmark = not runtime.deterministic
        torch.backends.cuda.matmul.allow_tf32 = not runtime.deterministic
        torch.backends.cudnn.allow_tf32 = not runtime.deterministic
    torch.use_deterministic_algorithms(runtime.deterministic, warn_only=True)
    # Deterministic mode would also write over every new tensor, a help in hunting bugs that costs a pass over memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device(runtime.device)


def worker_count() -> int:
    """How many worker processes or threads to use: VISAGE_WORKERS, else the processors this process may use.

    Raises:
        ConfigError: VISAGE_WORKERS is not a number from 1 up.
    """
    given = os.environ.get("VISAGE_WORKERS")
    if given:
        if not given.isdecimal() or int(given) < 1:
            raise ConfigError(f"VISAGE_WORKERS={given}: it must be a whole number, at least 1")
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mb() -> float:
    """The largest resident memory this process has had, in MiB.

    From /proc where there is one: getrusage's figure begins at what the parent held when it started this process.
    """
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / (1 << 10)
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def resident_memory_mb() -> float:
    """The resident memory of this process now, in MiB; its peak where there is no /proc."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    except OSError:
        return peak_memory_mb()
