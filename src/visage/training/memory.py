"""The memory budget: predicted by a dry step, compared with `runtime.memory_gb` before training, measured during it.

What a training step keeps is counted, not measured: a forward pass of two samples with hooks on everything autograd
saves gives bytes per sample, independent of allocator and device, and a prediction linear in the micro-batch. Frozen
layers save nothing and so cost nothing here, as in truth.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from visage.errors import DoesNotFitError
from visage.runtime import Runtime, resident_memory_mb
from visage.training.plan import keys
from visage.training.task import Task

MB = 1 << 20
DRY_SAMPLES = 2
# Gradients of activations and convolution workspaces live beside the saved tensors for a while during backward.
BACKWARD_FACTOR = 1.35


@dataclass(frozen=True)
class Budget:
    """Predicted MiB of one training process, `base` + `per_sample` x micro-batch, and its `limit`."""

    base: float
    per_sample: float
    limit: float

    def predicted(self, micro_batch: int) -> float:
        """MiB of one process at `micro_batch` samples."""
        return self.base + self.per_sample * micro_batch

    def largest(self, at_most: int) -> int:
        """The largest micro-batch up to `at_most` that fits; 0 where not even one sample does."""
        return max(0, min(at_most, int((self.limit - self.base) / self.per_sample)))


def measure(task: Task, runtime: Runtime) -> Budget:
    """Count what a training step of `task` keeps, with its own samples and loss; the model stays as it is.

    Saved tensors that are parameters are not counted twice; tensors sharing a storage are counted once.
    """
    model = task.model
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    samples = [task.train_samples[key] for key in keys(0, range(min(DRY_SAMPLES, len(task.train_samples))))]
    batch = torch.utils.data.default_collate(samples)
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss, _ = task.loss(model, batch, True)
    del loss
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    inputs = sum(t.numel() * t.element_size() for t in batch)
    half = 0.5 if runtime.precision != "fp32" else 1.0
    per_sample = (half * BACKWARD_FACTOR * sum(saved.values()) + inputs) / len(samples) / MB
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad) / MB
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / MB
    # Adam keeps two moments; gradients and, with several processes, the buckets they are exchanged in come on top.
    state = trained * (4 if runtime.processes > 1 else 3)
    kept = (task.train_samples.resident_bytes() + task.valid_samples.resident_bytes()) * max(1, runtime.loaders) / MB
    on_gpu = runtime.device == "cuda"
    base = (weights if on_gpu else resident_memory_mb() + kept) + state
    return Budget(base, max(per_sample, 1e-6), runtime.memory_gb * 1024 / (1 if on_gpu else runtime.processes))


def check(budget: Budget, key: str, micro_batch: int, batch_size: int, runtime: Runtime) -> None:
    """Refuse a micro-batch that would pass the budget, naming the one that fits; key: the parameter that sets it.

    Raises:
        DoesNotFitError: the prediction is above `runtime.memory_gb`.
    """
    part = per_process(micro_batch, batch_size, runtime)
    total = budget.predicted(part) * runtime.processes / 1024
    if budget.predicted(part) <= budget.limit:
        print(f"memory: {total:.2f} GB predicted of {runtime.memory_gb:g} GB", flush=True)
        return
    fits = budget.largest(part)
    remedy = f"{key}={fits}" if fits else f"runtime.memory_gb={total + 0.5:.1f}, or smaller pictures"
    raise DoesNotFitError(
        f"{key}={micro_batch} needs about {total:.2f} GB, runtime.memory_gb is {runtime.memory_gb:g}: set {remedy}"
    )


def per_process(micro_batch: int, batch_size: int, runtime: Runtime) -> int:
    """The most samples one process has in memory at once."""
    return min(micro_batch, -(-batch_size // runtime.processes))
