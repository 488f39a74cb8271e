"""The plan of a suite: its cells, each with the key of everything that determines its result."""

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from distillbench.bench.errors import ConfigError
from distillbench.bench.records import Cell
from distillbench.bench.suite import MethodSpec, ModelSpec, Suite
from distillbench.bench.tasks.task import Task
from distillbench.distill.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """A cell together with what it takes to run it."""

    cell: Cell
    model: ModelSpec
    method: MethodSpec | None
    recipe: Recipe


@dataclass(frozen=True)
class Plan:
    """All jobs of a suite.

    Attributes:
        teacher: The teacher's training.
        students: Each student with each method and seed.
        costs: Key of each model's cost, by the model's name.
    """

    suite: Suite
    task: Task
    teacher: Job
    students: tuple[Job, ...]
    costs: dict[str, str]

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs, the teacher's first."""
        return (self.teacher, *self.students)

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """The distinct models, the teacher first."""
        return (self.suite.teacher, *self.suite.students)


def make_plan(suite: Suite, task: Task) -> Plan:
    """Plan the cells of a suite: the teacher once, then student by method by seed.

    Seeds are paired: a seed gives the same data order and, per student, the same initial weights
    for every method.
    """
    base: dict[str, object] = {"task": task.fingerprint, "versions": _versions()}
    base |= {"device": task.train.device.type, "threads": suite.threads}
    spec = suite.teacher
    recipe = suite.recipe_of(spec).model_copy(update={"seed": spec.seed})
    facts = {**base, "model": _definition(spec), "recipe": recipe.model_dump(), "train": spec.train}
    key = _hash(facts)
    cell = Cell(key=key, kind="teacher", model=spec.name, method=None, seed=spec.seed)
    teacher = Job(cell, spec, None, recipe)
    students = []
    for student, method in suite.pairs():
        for seed in suite.seeds:
            recipe = suite.recipe_of(student).model_copy(update={"seed": seed})
            facts = {
                **base,
                "teacher": teacher.cell.key,
                "model": _definition(student),
                "method": {"name": method.method, "options": method.options},
                "weights": method.weights,
                "recipe": recipe.model_dump(),
            }
            key = _hash(facts)
            cell = Cell(key=key, kind="student", model=student.name, method=method.name, seed=seed)
            students.append(Job(cell, student, method, recipe))
    # All models are timed in turn, so one more or less of them means measuring all anew.
    models = {model.name: _definition(model) for model in (suite.teacher, *suite.students)}
    measured = _hash({**base, "measure": suite.measure.model_dump(), "models": models})
    costs = dict.fromkeys(models, measured)
    return Plan(suite, task, teacher, tuple(students), costs)


def _definition(spec: ModelSpec) -> dict[str, Any]:
    """Return what makes a model what it is; its name in the suite does not."""
    definition = {"model": spec.model, "options": spec.options, "inputs": spec.inputs}
    if spec.weights is None:
        return definition
    if not spec.weights.is_file():
        raise ConfigError(f"model '{spec.name}': there is no weight file {spec.weights}")
    return {**definition, "weights": hashlib.sha256(spec.weights.read_bytes()).hexdigest()}


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("distillbench", "torch", "torchvision")}


def _hash(facts: object) -> str:
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
