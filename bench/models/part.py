"""Models that are parts of another one: named as in the zoo, with the facts that they ask for."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from distillbench.bench.models import MODELS
from distillbench.bench.registry import Registry


def build_part(model: str, options: Mapping[str, Any], facts: Mapping[str, Any]) -> nn.Module:
    """Build a model with the facts, those that are not None, that it has parameters for.

    Args:
        model: A name in the zoo, or `package.module:callable`.
        options: Keyword arguments; they go before facts.
        facts: `num_classes`, here the number of its outputs, and others of the task.

    Raises:
        ConfigError: The model is unknown.
        ValueError: It gives no module.
    """
    make = Registry("model", MODELS).load(model)
    takes = inspect.signature(make).parameters
    asked = {name: fact for name, fact in facts.items() if name in takes and fact is not None}
    part = make(**{**asked, **options})
    if not isinstance(part, nn.Module):
        raise ValueError(f"{model} gave a {type(part).__name__}; expected a torch.nn.Module")
    return part
