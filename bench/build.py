"""Builds what a suite names: the task, models with their initial weights, methods."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distillbench.bench.errors import ConfigError
from distillbench.bench.registry import suggest
from distillbench.bench.suite import (
    MethodNames,
    MethodSpec,
    ModelNames,
    ModelSpec,
    TaskNames,
    TaskSpec,
)
from distillbench.bench.tasks.task import Task
from distillbench.distill.checkpoint import load_weights
from distillbench.distill.method import Method
from distillbench.distill.network import Network
from distillbench.distill.seeding import seeded


def build_task(spec: TaskSpec, data_root: Path | None) -> Task:
    """Load a task's data.

    Raises:
        ConfigError: An option does not fit, or the data is missing.
    """
    function = TaskNames.load(spec.name)
    accepts_root = "data_root" in inspect.signature(function).parameters
    options = {**spec.options, "data_root": data_root} if accepts_root else spec.options
    task = _call(f"task '{spec.name}'", function, options)
    if not isinstance(task, Task):
        raise ConfigError(
            f"task '{spec.name}' gave a {type(task).__name__}; "
            "expected a Task, as tensor_task makes"
        )
    return task


def build_model(spec: ModelSpec, task: Task, seed: int) -> Network:
    """Build a model with the initial weights that its seed gives, or those of its file.

    Raises:
        ConfigError: The model is unknown, or its options or weights do not fit.
    """
    with seeded(seed, "weights"):
        module = _module(spec, task)
    if not isinstance(module, nn.Module):
        raise ConfigError(
            f"model '{spec.name}': {spec.model} gave a {type(module).__name__}; "
            "expected a torch.nn.Module"
        )
    if spec.weights is not None:
        _load(spec, module)
    return Network(module.to(task.train.device), spec.inputs)


def build_method(spec: MethodSpec) -> Method:
    """Build a method.

    Raises:
        ConfigError: The method is unknown, or its options or weights do not fit.
    """
    method = _call(f"method '{spec.name}'", MethodNames.load(spec.method), spec.options)
    if not isinstance(method, Method):
        raise ConfigError(
            f"method '{spec.name}': {spec.method} gave a {type(method).__name__}; "
            "expected a distillbench.distill.Method"
        )
    unknown = sorted(set(spec.weights) - set(method.default_weights))
    if unknown:
        raise ConfigError(
            f"method '{spec.name}': weights name {unknown}; "
            f"its loss has the terms {sorted(method.default_weights)}"
        )
    return method


def _module(spec: ModelSpec, task: Task) -> Any:
    what = f"model '{spec.name}'"
    library, _, name = spec.model.partition(":")
    facts = _facts(task)
    if library == "torchvision":
        from torchvision.models import get_model, list_models

        if name not in list_models():
            raise ConfigError(
                f"{what}: torchvision has no model '{name}'; {suggest(name, list_models())}"
            )
        facts = {key: facts[key] for key in ("num_classes",) if key in facts}
        return _call(what, lambda **options: get_model(name, **options), {**facts, **spec.options})
    if library == "timm":
        try:
            import timm  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise ConfigError(
                f"{what} needs timm, which is not installed: pip install timm"
            ) from error
        facts = {key: facts[own] for key, own in _TIMM.items() if own in facts}
        return _call(
            what, lambda **options: timm.create_model(name, **options), {**facts, **spec.options}
        )
    function = ModelNames.load(spec.model)
    known = inspect.signature(function).parameters
    facts = {key: value for key, value in facts.items() if key in known}
    return _call(what, function, {**facts, **spec.options})


_TIMM = {"num_classes": "num_classes", "in_chans": "in_channels"}


def _facts(task: Task) -> dict[str, Any]:
    """Return what a model's parameters of these names are filled in with."""
    facts: dict[str, Any] = {"heads": {head.name: head.classes for head in task.heads}}
    if len(task.heads) == 1:
        facts["num_classes"] = task.heads[0].classes
    inputs = task.example(1)
    if isinstance(inputs, Tensor):
        facts["input_shape"] = tuple(inputs.shape[1:])
        facts["in_channels"] = inputs.shape[1] if inputs.ndim > 1 else 1
    return facts


def _call(what: str, function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """Call a factory, and say which option is wrong where it refuses."""
    try:
        parameters = inspect.signature(function).parameters
        takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        unknown = [] if takes_any else sorted(set(options) - set(parameters))
        if unknown:
            known = sorted(name for name in parameters if name != "data_root")
            raise ConfigError(f"{what} has no option '{unknown[0]}'; {suggest(unknown[0], known)}")
        return function(**options)
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what}: {error}") from error
    except Exception as error:  # a user's own factory may raise anything
        raise ConfigError(f"{what}: {type(error).__name__}: {error}") from error


def _load(spec: ModelSpec, module: nn.Module) -> None:
    path = spec.weights
    assert path is not None
    try:
        if path.suffix == ".safetensors":
            load_weights(module, path)
        else:
            module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise ConfigError(f"model '{spec.name}': cannot load {path}: {error}") from error
