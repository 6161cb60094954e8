"""The one training loop of the project, on Hugging Face Accelerate, resumable at any step to the same bits.

Gradients are averages over the whole batch whatever the number of processes and micro-batches: each part's mean loss is
weighted by its share of the batch. Accelerate gives autocast, clipping and several processes; the order of samples and
the seeds come from `plan`, so the resume state is the weights, the optimizer and a position.
"""

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs

from visage.errors import DataError
from visage.runtime import Runtime
from visage.tracking.tracker import NullTracker, Tracker
from visage.training import checkpoint, plan
from visage.training.feed import Feed
from visage.training.keep import drop_others, kept_epochs, kept_path
from visage.training.schedule import make_schedule
from visage.training.state import Progress
from visage.training.sums import Sums, add, as_floats, as_tensors, merge, weighed
from visage.training.task import EpochAware, Settings, Task

STATE, BEST = "state.pt", "best.pt"
# One message a step: on small networks each further one is half a millisecond of waiting.
EXCHANGE = DistributedDataParallelKwargs(gradient_as_bucket_view=True, bucket_cap_mb=100)
# A micro-batch: how many of its samples count (0 for a stand-in), and its tensors.
Part = tuple[int, Any]


class Loop:
    """One process's part of a run; `run` returns when the run is done or its time is over."""

    def __init__(self, task: Task, settings: Settings, runtime: Runtime, state: Path, tracker: Tracker) -> None:
        if len(task.train_samples) == 0 or len(task.valid_samples) == 0:
            raise DataError("nothing to train on: the training or the validation split is empty")
        precision = "no" if runtime.precision == "fp32" else runtime.precision
        self.accelerator = Accelerator(
            mixed_precision=precision, cpu=runtime.device == "cpu", kwargs_handlers=[EXCHANGE]
        )
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.task, self.settings, self.runtime, self.state = task, settings, runtime, state
        self.tracker = tracker if self.rank == 0 else NullTracker()
        if runtime.layout == "channels_last":
            task.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if settings.compile and runtime.device == "cuda" and not runtime.deterministic:
            # In place: a wrapper would be in the names of the weights. TORCH_COMPILE_DISABLE=1 turns it off.
            task.model.compile(mode="max-autotune")
        optimizer = task.optimizer()
        self.model, self.optimizer = self.accelerator.prepare(task.model, optimizer)
        self.steps = math.ceil(len(task.train_samples) / settings.batch_size)
        self.schedule = make_schedule(
            settings.schedule, optimizer, settings.epochs * self.steps, settings.schedule_options
        )
        self.progress = Progress()
        self.deadline = time.monotonic() + 60 * runtime.max_minutes if runtime.max_minutes else math.inf
        self.feeds = {True: Feed(task.train_samples, runtime), False: Feed(task.valid_samples, runtime)}

    def run(self) -> None:
        """Every epoch that is left; the saved state says `done` unless the time limit came first."""
        self._restore()
        while not self.progress.done:
            if not self._train_epoch():
                return
            self._finish_epoch()
            if not self.progress.done and self._out_of_time():
                return

    def _train_epoch(self) -> bool:
        """The steps that are left of the current epoch; False where the time limit stopped it."""
        now, started = self.progress, time.monotonic()
        sums = as_tensors(now.sums[self.rank] if now.sums else {}, self.accelerator.device)
        batches = plan.epoch_batches(
            len(self.task.train_samples), self.settings.batch_size, self.settings.seed, now.epoch
        )
        if isinstance(self.task, EpochAware):
            self.task.begin_epoch(now.epoch)
        self.model.train()
        for parts in self._portions(batches[now.step :]):
            self._seed(plan.step_seed(self.settings.seed, now.epoch, now.step, self.rank))
            self._step(parts, len(batches[now.step]), sums)
            now.step += 1
            stop = self._out_of_time()
            if (stop or now.step % self.settings.save_steps == 0) and now.step < len(batches):
                now.sums = self._gather(sums)
                now.seconds, started = now.seconds + time.monotonic() - started, time.monotonic()
                self._save(STATE)
                if stop:
                    return False
        now.sums = self._gather(sums)
        now.seconds += time.monotonic() - started
        return True

    def _seed(self, seed: int) -> None:
        """Seed what the coming step draws (dropout, noise)."""
        if self.accelerator.device.type == "cpu":
            # The same bits as torch.manual_seed, which formats a stack trace for each kind of device that is not there.
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

    def _portions(self, batches: list[np.ndarray]) -> Iterator[list[Part]]:
        """For each optimizer step this process's micro-batches, read ahead by the loaders."""
        counts: list[list[int]] = []
        keys: list[list[plan.Key]] = []
        for batch in batches:
            mine = plan.share(batch, self.rank, self.world)
            # A process left without samples still takes part in the exchange of gradients, with a weight of zero.
            portions = plan.micro_batches(mine if len(mine) else batch[:1], self.settings.micro_batch)
            counts.append([len(portion) if len(mine) else 0 for portion in portions])
            keys += [plan.keys(self.progress.epoch, plan.at_least_two(portion)) for portion in portions]
        stream = self.feeds[True].read(keys)
        for step in counts:
            yield [(count, next(stream)) for count in step]

    def _step(self, parts: list[Part], batch_size: int, sums: Sums) -> None:
        """One optimizer step over the micro-batches `parts`, whose loss and statistics are added to `sums`."""
        for index, (count, batch) in enumerate(parts):
            exchange = index == len(parts) - 1
            with nullcontext() if exchange else self.accelerator.no_sync(self.model):
                loss, stats = self._loss(self.model, batch, train=True)
                self.accelerator.backward(loss * (count * self.world / batch_size))
            add(sums, weighed(loss, stats, count, len(batch[0])))
        if self.settings.clip_norm:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.after_step()

    def _loss(self, model: torch.nn.Module, batch: Any, train: bool) -> Any:
        """The task's loss on the device, pictures in the layout of `runtime.layout`, under autocast."""
        tensors = [tensor.to(self.accelerator.device, non_blocking=True) for tensor in batch]
        if self.runtime.layout == "channels_last":
            tensors = [t.to(memory_format=torch.channels_last) if t.ndim == 4 else t for t in tensors]
        with self.accelerator.autocast():
            return self.task.loss(model, tensors, train)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """The sums over all validation samples, of all processes."""
        self.model.eval()
        model = self.accelerator.unwrap_model(self.model)
        if self.world > 1:
            # Batch norms saw different halves of the last batch: all measure the model that the first process saves.
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, src=0)
        sums: Sums = {}
        batches = plan.ordered_batches(len(self.task.valid_samples), self.settings.micro_batch)
        mine = batches[self.rank :: self.world]
        for indices, batch in zip(mine, self.feeds[False].read([plan.keys(0, b) for b in mine]), strict=True):
            loss, stats = self._loss(model, batch, train=False)
            add(sums, weighed(loss, stats, len(indices), len(indices)))
        return merge(self._gather(sums))

    def _finish_epoch(self) -> None:
        """Validate, keep the best, move the schedule, decide whether to stop, save, report."""
        now, settings, started = self.progress, self.settings, time.monotonic()
        row: dict[str, float] = {"epoch": now.epoch + 1}
        for split, total in (("train", merge(now.sums)), ("valid", self._validate())):
            count = int(total["count"])
            row[f"{split}_loss"] = total["loss"] / count
            row |= {f"{split}_{name}": value for name, value in self.task.report(total, count).items()}
        row["lr"] = self.optimizer.param_groups[0]["lr"]
        value = row[f"valid_{settings.monitor}"]
        if not math.isfinite(row["train_loss"] + row["valid_loss"] + value):
            raise DataError(
                f"the loss is no longer a number in epoch {now.epoch + 1}: a learning rate of {row['lr']:g} is too high"
            )
        now.history.append(row)
        better = now.improves(value, settings.mode)
        now.stale_epochs = 0 if better else now.stale_epochs + 1
        if better:
            now.best_epoch, now.best_value = now.epoch, value
        self.schedule.after_epoch(row["valid_loss"])
        seconds = now.seconds
        now.total_seconds += seconds + time.monotonic() - started
        now.epoch, now.step, now.sums, now.seconds = now.epoch + 1, 0, [], 0.0
        stop_early = 0 < settings.patience <= now.stale_epochs
        now.done = stop_early or now.epoch >= settings.epochs
        if better:
            self._save(BEST)
        wanted = kept_epochs(now.history, settings)
        if now.epoch in wanted:
            self._save(kept_path(self.state, now.epoch).name)
        if self.rank == 0:
            drop_others(self.state, wanted)
        self._save(STATE)
        self._track(row)
        numbers = "  ".join(f"{name} {number:.4g}" for name, number in row.items() if name != "epoch")
        self._say(
            f"epoch {now.epoch}/{settings.epochs}  {numbers}  "
            f"({self.steps} batches in {seconds:.1f} s, validation {time.monotonic() - started:.1f} s)"
        )
        if better:
            self._say(f"  best model so far: {settings.monitor} {value:.4f}")
        if stop_early:
            self._say(f"  stopping early: no better epoch in {settings.patience}")
        if now.done:
            self._say(f"trained {now.epoch} epochs in {now.total_seconds:.1f} s")

    def _save(self, name: str) -> None:
        """Write the state of the run to `name`; only the first process writes."""
        if self.rank == 0:
            checkpoint.save(
                self.state / name,
                {
                    "model": self.accelerator.unwrap_model(self.model).state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "schedule": self.schedule.state_dict(),
                    "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else {},
                    "progress": self.progress.as_dict(),
                },
            )

    def _restore(self) -> None:
        """Go back to the saved position, if there is one."""
        if not (self.state / STATE).is_file():
            return
        saved = checkpoint.load(self.state / STATE)
        self.accelerator.unwrap_model(self.model).load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        if self.accelerator.scaler and saved["scaler"]:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        self.progress = Progress(**saved["progress"])
        for row in self.progress.history:
            # What recorded the first part of the run is gone with it.
            self._track(row)
        if not self.progress.done:
            self._say(f"continuing from epoch {self.progress.epoch + 1}, step {self.progress.step}")

    def _track(self, row: dict[str, float]) -> None:
        """Hand an epoch's numbers to whoever records them."""
        self.tracker.metrics({name: value for name, value in row.items() if name != "epoch"}, step=int(row["epoch"]))

    def _gather(self, sums: Sums) -> list[dict[str, float]]:
        """Every process's sums, in the order of rank."""
        mine = as_floats(sums)
        if self.world == 1:
            return [mine]
        gathered: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(gathered, mine)
        return gathered

    def _out_of_time(self) -> bool:
        """Whether the first process's clock has passed the limit; every process gets its answer."""
        if self.deadline == math.inf:
            return False
        answer = [time.monotonic() > self.deadline]
        if self.world > 1:
            torch.distributed.broadcast_object_list(answer, src=0)
        return answer[0]

    def _say(self, line: str) -> None:
        """Print once, whatever the number of processes."""
        if self.rank == 0:
            print(line, flush=True)
