"""One optimiser step of each method, the teacher's outputs read from the cache."""

from collections.abc import Iterator
from importlib import import_module

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from tests.benchmarks.conftest import suite_cnn

from distillbench.distill import METHODS, Method, Recipe, Tensors, distil
from distillbench.distill.method import Progress

OPTIONS: dict[str, dict[str, object]] = {"interpolate": {"when": "step", "strength": 1e-4}}
EPOCHS, STEPS = 4, 32


class Clocked(Recipe):
    """A recipe whose rate is asked for once per step, which is how steps are counted here."""


def method_named(name: str) -> Method:
    module, _, kind = METHODS[name].partition(":")
    method = getattr(import_module(module), kind)(**OPTIONS.get(name, {}))
    assert isinstance(method, Method)
    return method
