"""Where and under which state of the code a run happens: root, revision, process, memory, device.

A pid alone cannot tell a killed run from a living one, because pids are given out again; the kernel's boot id and the
process's start tick beside it can. Nothing here is ever an output of a stage.
"""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

GIT_SECONDS = 5.0
# What stages write: DVC removes it before a stage starts, which would make every run look dirty.
_WRITTEN_BY_STAGES = (":!metrics", ":!plots", ":!dvc.lock")


def repository_root(start: Path | None = None) -> Path:
    """`$DVC_ROOT`, else the nearest folder upward of `start` (default: here) with `.dvc` or `dvc.yaml`, else `start`.

    DVC sets DVC_ROOT to the main repository in temporary and queued experiments too, so all of them share one table.
    """
    if os.environ.get("DVC_ROOT"):
        return Path(os.environ["DVC_ROOT"])
    here = (start or Path.cwd()).resolve()
    return next((at for at in (here, *here.parents) if (at / ".dvc").is_dir() or (at / "dvc.yaml").is_file()), here)


def git_state(directory: Path | None = None) -> tuple[str, bool]:
    """The commit hash (40 digits, "" without git) and whether tracked files other than stage outputs differ from it."""
    revision = _git(directory, "rev-parse", "HEAD").strip()
    if not revision:
        return "", False
    status = ("status", "--porcelain", "--untracked-files=no", "--", ":/", *_WRITTEN_BY_STAGES)
    return revision, bool(_git(directory, *status).strip())


def process_identity() -> dict[str, Any]:
    """This process: `host`, `pid`, `boot` (the kernel's boot id) and `born` (its start in clock ticks since boot)."""
    return {"host": platform.node(), "pid": os.getpid(), "boot": _boot(), "born": _born(os.getpid())}


def is_alive(process: dict[str, Any]) -> bool:
    """Whether the process of a `process_identity` still runs; true for another host, which cannot be asked."""
    if process["host"] != platform.node():
        return True
    if process["boot"] != _boot():
        return False
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return process["born"] == _born(process["pid"])


def peak_memory_mb() -> float:
    """Peak resident memory in MB (10^6 bytes): this process's plus that of the largest child waited for."""
    unit = 1 if sys.platform == "darwin" else 1024
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(sum(peaks) * unit / 1e6, 1)


def device_and_peak() -> tuple[str, float | None]:
    """The accelerator's name and its peak allocated memory in MB, or ("cpu", None) where torch has not used one."""
    torch = sys.modules.get("torch")  # asked, never imported: a stage without torch should not pay for it
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return "cpu", None
    return torch.cuda.get_device_name(), round(torch.cuda.max_memory_allocated() / 1e6, 1)


def _git(directory: Path | None, *arguments: str) -> str:
    # Without optional locks: refreshing the index here could collide with DVC's own git work.
    command = ("git", "--no-optional-locks", *arguments)
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=GIT_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _born(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # The name in parentheses may hold spaces; field 22 (starttime) is the 20th after it. A zombie has already died.
    fields = stat[stat.rindex(")") + 2 :].split()
    return -1 if fields[0] in "ZX" else int(fields[19])
