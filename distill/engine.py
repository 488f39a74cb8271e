"""Train a model, distil a student from a teacher, or train the two together.

Each is the same loop over epochs with another step inside: `Learner` takes the optimiser steps, and
a method adds what it compares.
"""

import copy
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from distillbench.distill.augment import build_view
from distillbench.distill.batchnorm import recompute_batch_norm
from distillbench.distill.data import Data, Samples
from distillbench.distill.learner import Learner
from distillbench.distill.method import Method, Probe, Progress
from distillbench.distill.methods.none import Alone
from distillbench.distill.network import Network, as_network, probe
from distillbench.distill.recipe import Recipe
from distillbench.distill.seeding import derive, seeded
from distillbench.distill.taps import Taps
from distillbench.distill.teacher import (
    CacheNote,
    Joint,
    Live,
    Source,
    TeacherCache,
    guarded,
    outputs_size,
)

Score = Callable[[nn.Module], float]
"""Rates a model on validation data; larger is better."""


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training: its number from 1, mean unweighted loss terms, score, seconds."""

    number: int
    losses: Mapping[str, float]
    score: float | None
    seconds: float


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        model: What ships, in eval mode.
        selected_epoch: The epoch, from 1, whose weights `model` holds.
        history: Every epoch.
        weights: Weight of each term of the loss.
        train_only_parameters: Trained parameters that do not ship, such as projectors.
        cache: Whether teacher outputs were cached; None where the teacher was not run.
        notes: What the method says about the pair.
    """

    model: nn.Module
    selected_epoch: int
    history: tuple[Epoch, ...]
    weights: Mapping[str, float]
    train_only_parameters: int = 0
    cache: CacheNote | None = None
    notes: Mapping[str, object] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Seconds that the training took."""
        return sum(epoch.seconds for epoch in self.history)


def train(
    model: nn.Module | Network,
    data: Data,
    recipe: Recipe,
    *,
    score: Score | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train a model on the labels alone.

    Args:
        model: Trained in place; it must lie on the data's device.
        data: The training split.
        recipe: How to train. The same recipe, data and initial weights give the same bytes.
        score: Rates the model on validation data after each epoch; needed for `select: best`.
        on_epoch: Called after each epoch.

    Raises:
        DivergedError: The loss stopped being finite.
        ValueError: The recipe, the model and the data do not fit together.
    """
    network = as_network(model)
    loop = _Loop(network, data, recipe, score, on_epoch)
    probe(network, data)
    with seeded(recipe.seed, "train"):
        method = Alone()
        learner = loop.learner(network, method, method.default_weights)
        return loop.run(learner, learner.step)


def distil(
    student: nn.Module | Network,
    teacher: nn.Module | Network,
    method: Method,
    data: Data,
    recipe: Recipe,
    *,
    weights: Mapping[str, float] | None = None,
    cache: TeacherCache | None = None,
    score: Score | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Distil a student from a finished teacher.

    The teacher is in eval mode and not changed; this is checked. Its outputs are computed once per
    sample where inputs are deterministic (no augmentation) and fit the recipe's limit.

    Args:
        student: Trained in place; it must lie on the data's device.
        teacher: A finished network on the same device.
        method: The objective. It is prepared for this pair here; take a new one for each call.
        data: The training split.
        recipe: How to train.
        weights: Weights of loss terms that differ from the method's own.
        cache: Shares teacher outputs among several calls.
        score: Rates the student on validation data after each epoch; needed for `select: best`.
        on_epoch: Called after each epoch.

    Raises:
        DivergedError: A loss stopped being finite.
        RuntimeError: The teacher was changed.
        ValueError: The parts do not fit together, or the method does not apply to the pair.
    """
    pupil, master = as_network(student), as_network(teacher)
    loop = _Loop(pupil, data, recipe, score, on_epoch)
    merged = _merge(method, weights)
    with ExitStack() as stack:
        stack.enter_context(seeded(recipe.seed, "prepare"))
        identity = stack.enter_context(guarded(master.module))
        seen = _prepare(method, pupil, master, data)
        size = outputs_size(seen, data, method.teacher_taps)
        source, note = _teacher(stack, master, identity, size, method, data, recipe, cache)
        stack.enter_context(seeded(recipe.seed, "train"))
        learner = loop.learner(pupil, method, merged, source)

        def step(samples: Samples, progress: Progress) -> None:
            learner.step(samples, progress)
            method.after_step(pupil.module, master.module, progress)

        return replace(loop.run(learner, step), cache=note)


def distil_online(
    student: nn.Module | Network,
    teacher: nn.Module | Network,
    method: Method,
    data: Data,
    recipe: Recipe,
    *,
    weights: Mapping[str, float] | None = None,
    score: Score | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> tuple[Trained, nn.Module]:
    """Train a teacher and its student in the same loop, both from where they stand.

    Each batch is a step of the teacher on the labels, then the method's act in weight space, then a
    step of the student on the labels and on what the method compares.

    Returns:
        The student's training, and the teacher in eval mode.

    Raises:
        DivergedError: A loss stopped being finite.
        ValueError: The parts do not fit together, or the method does not apply to the pair.
    """
    pupil, master = as_network(student), as_network(teacher)
    loop = _Loop(pupil, data, recipe, score, on_epoch)
    merged = _merge(method, weights)
    with ExitStack() as stack:
        stack.enter_context(seeded(recipe.seed, "prepare"))
        _prepare(method, pupil, master, data)
        taps = stack.enter_context(Taps(master.module, method.teacher_taps))
        source = Joint(Live(master, data.heads, taps), master.module)
        stack.enter_context(seeded(recipe.seed, "train"))
        alone = Alone()
        leader = loop.learner(master, alone, alone.default_weights)
        learner = loop.learner(pupil, method, merged, source if method.uses_outputs else None)

        def step(samples: Samples, progress: Progress) -> None:
            leader.step(samples, progress)
            method.after_step(pupil.module, master.module, progress)
            learner.step(samples, progress)

        trained = loop.run(learner, step, leader)
        return trained, master.module.eval()


def _merge(method: Method, weights: Mapping[str, float] | None) -> dict[str, float]:
    merged = {**method.default_weights, **(weights or {})}
    unknown = set(merged) - set(method.default_weights)
    if unknown:
        raise ValueError(
            f"weights name {sorted(unknown)}, which are no terms of this method's loss; "
            f"it has {sorted(method.default_weights)}"
        )
    return merged


def _prepare(method: Method, student: Network, teacher: Network, data: Data) -> Probe:
    """Prepare a method for a pair, and return what the teacher showed."""
    seen = probe(teacher, data)
    method.prepare(probe(student, data), seen, data.heads[0])
    method.to(data.device)
    return seen


def _teacher(
    stack: ExitStack,
    teacher: Network,
    identity: str,
    size: int,
    method: Method,
    data: Data,
    recipe: Recipe,
    cache: TeacherCache | None,
) -> tuple[Source | None, CacheNote | None]:
    """Choose between a cached and a live teacher, and say why."""
    if not method.uses_outputs:
        return None, None
    if recipe.augment or not data.deterministic:
        note = CacheNote(False, "the inputs are augmented at random")
    elif size > recipe.teacher_cache_bytes:
        note = CacheNote(False, f"{size} bytes exceed the limit of {recipe.teacher_cache_bytes}")
    else:
        held = (cache or TeacherCache()).outputs(
            teacher, identity, data, method.teacher_taps, recipe.teacher_cache_bytes
        )
        return held, CacheNote(True, "the inputs are deterministic", held.nbytes)
    taps = stack.enter_context(Taps(teacher.module, method.teacher_taps))
    return Live(teacher, data.heads, taps), note


class _Loop:
    """The epochs of one training, whatever its step is."""

    def __init__(
        self,
        network: Network,
        data: Data,
        recipe: Recipe,
        score: Score | None,
        on_epoch: Callable[[Epoch], None] | None,
    ) -> None:
        if recipe.batch_size > len(data):
            raise ValueError(
                f"batch_size is {recipe.batch_size}, but the training split has {len(data)} rows"
            )
        if recipe.select == "best" and score is None:
            raise ValueError("the recipe selects the best epoch, which needs a validation score")
        self._network, self._data, self._recipe = network, data, recipe
        self._score, self._on_epoch = score, on_epoch
        self._view = build_view(recipe.augment, recipe.seed)
        self._steps_per_epoch = len(data) // recipe.batch_size
        self._history: list[Epoch] = []
        self._best: tuple[float, int, dict[str, Tensor]] | None = None

    def learner(
        self,
        network: Network,
        method: Method,
        weights: Mapping[str, float],
        teacher: Source | None = None,
    ) -> Learner:
        """Return a learner that steps in this loop."""
        if self._recipe.channels_last:
            network.module.to(memory_format=torch.channels_last)
        return Learner(
            network,
            self._data.heads,
            self._recipe,
            self._steps_per_epoch,
            method=method,
            weights=weights,
            teacher=teacher,
        )

    def run(
        self,
        learner: Learner,
        step: Callable[[Samples, Progress], None],
        leader: Learner | None = None,
    ) -> Trained:
        """Run all epochs and return the learner's training."""
        order = torch.Generator().manual_seed(derive(self._recipe.seed, "order"))
        method, module = learner.method, learner.network.module
        learners = [one for one in (leader, learner) if one is not None]
        shipped = method.shipped(module)
        self._settle(method, learner.network)
        with learner.taps:
            for epoch in range(self._recipe.epochs):
                began = time.perf_counter()
                for one in learners:
                    one.network.module.train()
                    one.method.train()
                self._steps(epoch, order, step)
                losses = [one.end_epoch(epoch) for one in learners][-1]
                self._settle(method, learner.network)
                score = self._rate(shipped, epoch)
                seconds = time.perf_counter() - began
                self._history.append(Epoch(epoch + 1, losses, score, seconds))
                if self._on_epoch is not None:
                    self._on_epoch(self._history[-1])
        selected = self._recipe.epochs
        if self._best is not None:
            _, selected, state = self._best
            shipped.load_state_dict(state)
        ships = {id(parameter) for parameter in shipped.parameters()}
        extra = sum(p.numel() for p in method.parameters() if id(p) not in ships)
        return Trained(
            shipped.eval(),
            selected,
            tuple(self._history),
            learner.weights,
            train_only_parameters=extra,
            notes=method.notes(),
        )

    def _steps(
        self, epoch: int, order: torch.Generator, step: Callable[[Samples, Progress], None]
    ) -> None:
        size, per_epoch = self._recipe.batch_size, self._steps_per_epoch
        rows = torch.randperm(len(self._data), generator=order)[: per_epoch * size]
        first, total = epoch * per_epoch, self._recipe.epochs * per_epoch
        for number, samples in enumerate(self._data.batches(rows, size), start=first):
            if self._recipe.augment:
                samples = replace(samples, inputs=self._view(samples.inputs, number))
            step(samples, Progress(epoch, number, total, self._recipe.epochs))

    def _settle(self, method: Method, network: Network) -> None:
        """Recompute batch-norm statistics where the method moved the weights itself."""
        if method.moved:
            recompute_batch_norm(network, self._data, self._recipe.batch_size)
            method.moved = False

    def _rate(self, shipped: nn.Module, epoch: int) -> float | None:
        if self._score is None:
            return None
        shipped.eval()
        score = self._score(shipped)
        if self._recipe.select == "best" and (self._best is None or score > self._best[0]):
            self._best = (score, epoch + 1, copy.deepcopy(shipped.state_dict()))
        return score
