"""Train a model, distil a student from a teacher, or train the two together.

Each is the same loop over epochs with another step inside: `Learner` takes the optimiser steps, and
a method adds what it compares.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace

from torch import nn

from distillbench.distill.data import Data, Samples
from distillbench.distill.loop import Epoch, Loop, Score, Trained
from distillbench.distill.method import Method, Probe, Progress
from distillbench.distill.methods.none import Alone
from distillbench.distill.network import Network, as_network, probe
from distillbench.distill.recipe import Recipe
from distillbench.distill.seeding import seeded
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
    loop = Loop(network, data, recipe, score, on_epoch)
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
    loop = Loop(pupil, data, recipe, score, on_epoch)
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
    loop = Loop(pupil, data, recipe, score, on_epoch)
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
