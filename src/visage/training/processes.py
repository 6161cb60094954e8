"""Data-parallel processes on this machine: this process is the first, the others are its children.

The children are forked before torch has computed a gradient: they share its 300 MB of code and cost nothing to start,
where spawning costs an import of torch each (3 - 4 s). Autograd does not survive a fork once it has run, so a second
training in one process spawns. The processes meet through a file, so no port can be taken.
"""

import ctypes
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from visage.errors import VisageError
from visage.runtime import Runtime

GROUP_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
PR_SET_PDEATHSIG = 1  # from Linux's sys/prctl.h
_autograd_has_run = False


def launch(leader: Callable[[], None], member: Callable[[], None], runtime: Runtime) -> None:
    """Call `leader` here and `member` in `runtime.processes` - 1 children; gradients are exchanged through gloo.

    With one process, or under `accelerate launch` (WORLD_SIZE is set), only `leader` is called. An error of the leader
    ends the children; a child that dies makes the leader's next exchange fail, and its exit is named in the error.
    """
    global _autograd_has_run
    _forget_earlier_group()
    if runtime.processes == 1 or "WORLD_SIZE" in os.environ:
        _autograd_has_run = True
        leader()
        return
    import torch.multiprocessing as multiprocessing

    # OpenMP's threads do not survive a fork either: a child that finds more than one of its own waits for ever.
    forkable = sys.platform.startswith("linux") and runtime.threads == 1 and not _autograd_has_run
    method = "fork" if forkable else "spawn"
    context: Any = multiprocessing.get_context(method)
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="visage-") as directory:
        rendezvous = Path(directory) / "rendezvous"
        children = [
            context.Process(target=_child, args=(rank, runtime, rendezvous, member), daemon=False)
            for rank in range(1, runtime.processes)
        ]
        for child in children:
            child.start()
        _autograd_has_run = True
        try:
            with _group(0, runtime.processes, rendezvous):
                leader()
        except VisageError:
            raise
        except Exception:
            _raise_what_a_child_met(children, rendezvous)
            raise
        finally:
            _end(children, patience_s=10 if sys.exc_info()[0] is None else 0)


def _child(rank: int, runtime: Runtime, rendezvous: Path, member: Callable[[], None]) -> None:
    """The body of process `rank`: join the group, run, leave."""
    import torch

    if sys.platform.startswith("linux"):
        # A killed leader must not leave children behind that hold memory and wait half an hour for it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    torch.set_num_threads(runtime.threads)
    try:
        with _group(rank, runtime.processes, rendezvous):
            member()
    except VisageError as error:
        # The leader may not meet it (a picture that only this process reads): it raises what stands here.
        _message_file(rendezvous, rank).write_text(str(error), encoding="utf-8")
        os._exit(2)
    except KeyboardInterrupt:
        os._exit(130)
    except Exception:
        traceback.print_exc()
        os._exit(1)


@contextmanager
def _group(rank: int, world: int, rendezvous: Path) -> Iterator[None]:
    """Membership in the process group, and the environment by which Accelerate recognises it."""
    import torch

    os.environ |= dict(zip(GROUP_VARIABLES, map(str, (rank, world, rank, world)), strict=True))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform.startswith("linux") else "lo0")
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world, timeout=timedelta(minutes=30)
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
        for name in GROUP_VARIABLES:
            os.environ.pop(name, None)


def _forget_earlier_group() -> None:
    """Accelerate remembers a process's first group for good; a second training of another size would be in it."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


def _raise_what_a_child_met(children: list[BaseProcess], rendezvous: Path) -> None:
    """Raise a child's user error as it was, and a killed child as one; return where the children did not begin it."""
    for rank, child in enumerate(children, start=1):
        child.join(2)
        message = _message_file(rendezvous, rank)
        if message.is_file():
            raise VisageError(message.read_text(encoding="utf-8"))
        if child.exitcode is not None and child.exitcode < 0:
            raise VisageError(
                f"training process {rank} was killed (signal {-child.exitcode}), perhaps for want of memory: the same "
                "command continues; a smaller micro_batch needs less"
            )


def _message_file(rendezvous: Path, rank: int) -> Path:
    return rendezvous.with_name(f"error-{rank}")


def _end(children: list[BaseProcess], patience_s: float) -> None:
    """Wait `patience_s` for the children to leave by themselves, then end them."""
    for child in children:
        child.join(patience_s)
        if child.is_alive():
            child.kill()
            child.join()
