"""The loop of a training: epochs and steps, the state that goes on after a stop, and the clocks.

``engine.fit`` sets it up; nothing else in the pipeline trains a network.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from integrations.reference.checkpoints import Checkpoints
from integrations.reference.errors import DivergedError
from integrations.reference.meters import MB, OperatorProfile, PeakMemory
from integrations.reference.ranks import Alone
from integrations.reference.recipe import Recipe

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Changes a batch (b, ...) of training rows; the generator is the loop's own."""
Measure = Callable[[npt.NDArray[np.int64], npt.NDArray[np.float32]], Mapping[str, float]]
"""More metrics of an epoch, from the validation classes (m,) and their logits (m, classes)."""
Drawn = tuple[Tensor, Tensor]
"""Rows (b, ...) and classes (b,)."""
EVALUATED = 4096
"""Rows that are evaluated at once."""
BLOCK_BYTES = 2**19
"""Batches are drawn and augmented together as far as they fit into so many bytes: each costs less than alone, and what
was just written is still near the processor when it is learned from."""


class Loop:
    """The moving parts of one training."""

    def __init__(
        self,
        recipe: Recipe,
        model: nn.Module,
        training: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        validation: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        *,
        augment: Augment | None = None,
        measure: Measure | None = None,
        device: torch.device,
        rank: Alone,
    ) -> None:
        self.recipe, self.augment, self.measure = recipe, augment, measure
        self.device, self.rank = device, rank
        self.x, self.y = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in training)
        self.vx, self.vy = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in validation)
        self.weights = torch.tensor(recipe.class_weights, device=device) if recipe.class_weights else None
        self.model = rank.prepare(model)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.amp == "fp16")
        # A generator of its own, so that the order of the rows does not depend on who else draws numbers.
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.steps = math.ceil(len(self.y) / recipe.batch_size)  # of an epoch
        self.history: list[dict[str, float]] = []
        self.best_epoch, self.best_loss = 0, math.inf
        self.best: dict[str, Tensor] = {}
        self.profile: OperatorProfile | None = None
        self.memory = PeakMemory(device)
        self.checkpoints: Checkpoints | None = None
        self.resumed_from = 0
        self.clocks = {"duration_s": 0.0, "cpu_s": 0.0, "step_s": 0.0, "input_s": 0.0}
        self.peak_bytes = 0

    @property
    def done(self) -> bool:
        """Whether the bound is reached or the validation loss has not fallen for ``patience`` epochs."""
        epochs = len(self.history)
        return epochs >= self.recipe.epochs or epochs - self.best_epoch >= self.recipe.patience

    def run(self, on_epoch: Callable[[dict[str, float]], None]) -> None:
        """Epochs until done, each kept before it is told."""
        while not self.done:
            wall, cpu = time.perf_counter(), time.process_time()
            row = self.epoch(len(self.history) + 1)
            self.history.append(row)
            if row["validation_loss"] < self.best_loss:
                self.best_epoch, self.best_loss = len(self.history), row["validation_loss"]
                self.best = self.rank.weights(self.model)
            self.clocks["duration_s"] += time.perf_counter() - wall
            self.clocks["cpu_s"] += time.process_time() - cpu
            self.peak_bytes = max(self.peak_bytes, self.memory.now())
            if self.checkpoints is not None:
                self.keep(self.checkpoints)
            on_epoch(row)

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over the training rows in a fresh order, then the validation rows."""
        self.model.train()
        order = torch.randperm(len(self.y), generator=self.generator)
        batches = torch.split(order, self.recipe.batch_size)
        begin = time.perf_counter()
        losses: list[Tensor] = []
        if self.profile is not None:
            self.profile.begin()
        feed = self.feed(batches)
        for place, rows in enumerate(batches):
            self.set_rate((number - 1) * self.steps + place)
            losses.append(self.step(rows, feed))
            if self.device.type == "cpu":  # elsewhere looking at every loss would make the device wait
                self.expect_finite(losses[-1:], number, place)
            if self.profile is not None:
                self.profile.step()
        if self.profile is not None:
            self.profile.end()
        self.expect_finite(losses, number, 0)
        whole = self.rank.total(torch.stack(losses)).double().cpu()
        train_loss = float(whole @ torch.tensor([len(rows) for rows in batches]).double()) / len(order)
        spent = time.perf_counter() - begin
        self.clocks["step_s"] += spent
        row = {"epoch": number, "train_loss": train_loss, **self.validate(), "step_s": spent}
        if not math.isfinite(row["validation_loss"]):
            raise DivergedError(self._diverged(row["validation_loss"], f"the validation after epoch {number}"))
        return {**row, "learning_rate": self.rate}

    def feed(self, batches: Sequence[Tensor]) -> Iterator[Drawn]:
        """This rank's share of the micro-batches of some batches of row numbers, several batches drawn at once."""
        together = max(1, BLOCK_BYTES // (self.x[0].nbytes * self.recipe.batch_size))
        for begin in range(0, len(batches), together):
            block = batches[begin : begin + together]
            sizes = [len(part) for rows in block for part in self._parts(rows)]
            x, y = self.draw(torch.cat(list(block)))
            for part in zip(x.split(sizes), y.split(sizes), strict=True):
                yield self.rank.share(part[0]), self.rank.share(part[1])

    def _parts(self, rows: Tensor) -> tuple[Tensor, ...]:
        return rows.chunk(self.recipe.grad_accum_steps)

    def step(self, rows: Tensor, feed: Iterator[Drawn]) -> Tensor:
        """One optimiser step over a batch, in the micro-batches that come from its feed; gives this rank's part of the
        mean loss."""
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        parts = len(self._parts(rows))
        for number in range(1, parts + 1):
            begin = time.perf_counter()
            x, y = next(feed)
            self.clocks["input_s"] += time.perf_counter() - begin
            with self.rank.gathering(self.model, last=number == parts):
                loss = self.loss(self.forward(x), y) / len(rows)  # of the whole batch, so sums add up to its mean
                torch.autograd.backward(self.scaler.scale(loss * self.rank.scale))
            total += loss.detach()
        if self.recipe.clip_norm > 0:
            self.scaler.unscale_(self.optimiser)
            self.rank.clip(self.model, self.recipe.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return total

    def draw(self, rows: Tensor) -> Drawn:
        """Some rows, augmented. Every rank draws them all, so that every rank draws the same random numbers."""
        rows = rows.to(self.device)
        x, y = self.x.index_select(0, rows), self.y.index_select(0, rows)
        return (x if self.augment is None else self.augment(x, self.generator)), y

    def forward(self, x: Tensor) -> Tensor:
        """Logits (b, classes) in float32, computed in the precision of the recipe."""
        kind = torch.float16 if self.recipe.amp == "fp16" else torch.bfloat16
        with torch.autocast(self.device.type, dtype=kind, enabled=self.recipe.amp != "off"):
            output: Tensor = self.model(x)
        return output.float()

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """Sum of the losses of the rows."""
        return functional.cross_entropy(
            output, y, weight=self.weights, reduction="sum", label_smoothing=self.recipe.label_smoothing
        )

    def validate(self) -> dict[str, float]:
        """Loss, accuracy and the metrics asked for on the validation rows, in full precision."""
        self.model.eval()
        with torch.no_grad():
            output = torch.cat([self.model(part).float() for part in torch.split(self.vx, EVALUATED)])
            loss = float(self.loss(output, self.vy) / len(self.vy))
            hits = float((output.argmax(1) == self.vy).float().mean())
        row = {"validation_loss": self.rank.agreed(loss), "validation_accuracy": hits}
        return {**row, **(self.measure(self.vy.cpu().numpy(), output.cpu().numpy()) if self.measure else {})}

    @property
    def rate(self) -> float:
        """The learning rate in force."""
        return float(self.optimiser.param_groups[0]["lr"])

    def set_rate(self, step: int) -> None:
        """The learning rate of a step, counted from 0 over the whole training."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(step, self.recipe.epochs * self.steps)

    def expect_finite(self, losses: list[Tensor], epoch: int, first: int) -> None:
        """Raise ``DivergedError`` for the first loss, of steps from ``first`` on, that is no finite number."""
        values = torch.stack(losses)
        broken = torch.nonzero(~torch.isfinite(values)).flatten()
        if len(broken):
            place = int(broken[0])
            step = (epoch - 1) * self.steps + first + place
            rate = self.recipe.rate(step, self.recipe.epochs * self.steps)
            where = f"epoch {epoch}, step {first + place + 1} of {self.steps}, learning rate {rate:g}"
            raise DivergedError(self._diverged(float(values[place]), where))

    def _diverged(self, value: float, where: str) -> str:
        """The sentence for a loss that is no finite number, with the likely cause."""
        bad = int((~torch.isfinite(self.x)).flatten(1).any(1).sum()) if self.x.is_floating_point() else 0
        cause = f"{bad} training rows hold values that are not finite" if bad else "the learning rate may be too high"
        kept = f" Epoch {len(self.history)} is kept." if self.checkpoints is not None and self.history else ""
        return f"The loss is {value} at {where}; {cause}.{kept}"

    def resume(self, checkpoints: Checkpoints) -> None:
        """Keep every epoch from now on, and go on from the last one kept."""
        self.checkpoints = checkpoints
        state = self.rank.from_first(checkpoints.load)
        if state is None:
            return
        self.rank.set_weights(self.model, state["weights"])
        self.rank.set_optimiser_state(self.model, self.optimiser, state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and len(state["random_gpu"]):
            torch.cuda.set_rng_state(state["random_gpu"], self.device)
        self.history, self.best, self.best_epoch = state["history"], state["best"], state["best_epoch"]
        self.best_loss, self.clocks, self.peak_bytes = state["best_loss"], state["clocks"], state["peak_bytes"]
        self.resumed_from = len(self.history)

    def keep(self, checkpoints: Checkpoints) -> None:
        """Write the state after this epoch; every rank takes part, the first one writes."""
        gpu = self.device.type == "cuda"
        state = {
            "weights": self.rank.weights(self.model),
            "optimiser": self.rank.optimiser_state(self.model, self.optimiser),
            "scaler": self.scaler.state_dict(),
            "generator": self.generator.get_state(),
            "random": torch.get_rng_state(),
            "random_gpu": torch.cuda.get_rng_state(self.device) if gpu else torch.empty(0, dtype=torch.uint8),
            "history": self.history,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "clocks": self.clocks,
            "peak_bytes": self.peak_bytes,
        }
        if self.rank.rank == 0:
            checkpoints.save(len(self.history), state)

    def cost(self) -> dict[str, float]:
        """What the training took, all sittings together; validation counts for the duration only."""
        step_s = max(self.clocks["step_s"], 1e-9)
        return {
            "duration_s": self.clocks["duration_s"],
            "cpu_s": self.clocks["cpu_s"],
            "samples_per_s": len(self.y) * len(self.history) / step_s,
            "input_stall_share": self.clocks["input_s"] / step_s,
            "peak_memory_mb": self.peak_bytes / MB,
        }
