"""Several heads on one trunk, or a trunk for each: what parts of a network tasks share."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from distillbench.bench.models.part import NOTHING, build_part


class SharedTrunk(nn.Module):
    """Any classifier as a trunk, whose outputs are the features of a linear layer for each head.

    That is hard parameter sharing (Caruana 1997, "Multitask Learning").

    Args:
        heads: Classes of each head, or values of a regression head.
        trunk: A name in the zoo, or `package.module:callable`.
        width: Outputs of the trunk, which every head sees.
        options: Keyword arguments of the trunk.
        facts: What the trunk's parameters of these names are filled in with, such as `in_channels`.
    """

    def __init__(
        self,
        *,
        heads: Mapping[str, int],
        trunk: str = "cnn",
        width: int = 64,
        options: Mapping[str, Any] = NOTHING,
        facts: Mapping[str, Any] = NOTHING,
    ) -> None:
        super().__init__()
        self.trunk = build_part(trunk, width, options, facts)
        self.heads = nn.ModuleDict({name: nn.Linear(width, count) for name, count in heads.items()})

    def forward(self, *inputs: Tensor, **named: Tensor) -> dict[str, Tensor]:
        """Return logits, (N, C), or values, (N, D), by head, of what the trunk takes."""
        features = F.relu(self.trunk(*inputs, **named))
        return {name: head(features) for name, head in self.heads.items()}


class SeparateTrunks(nn.Module):
    """A network of its own for each head, as one teacher per task: nothing is shared.

    Each is a `SharedTrunk` of one head. The heads' losses are summed and no parameter is in two of
    them, so that training them side by side is training each alone, where no gradient is clipped.

    Args:
        heads: Classes of each head, or values of a regression head.
        trunk: A name in the zoo, or `package.module:callable`.
        width: Outputs of each trunk.
        options: Keyword arguments of each trunk.
        facts: What the trunks' parameters of these names are filled in with, such as `in_channels`.
    """

    def __init__(
        self,
        *,
        heads: Mapping[str, int],
        trunk: str = "cnn",
        width: int = 64,
        options: Mapping[str, Any] = NOTHING,
        facts: Mapping[str, Any] = NOTHING,
    ) -> None:
        super().__init__()
        make = partial(SharedTrunk, trunk=trunk, width=width, options=options, facts=facts)
        self.networks = nn.ModuleDict(
            {name: make(heads={name: count}) for name, count in heads.items()}
        )

    def forward(self, *inputs: Tensor, **named: Tensor) -> dict[str, Tensor]:
        """Return logits, (N, C), or values, (N, D), by head, of what the trunks take."""
        found: dict[str, Tensor] = {}
        for network in self.networks.values():
            found |= network(*inputs, **named)
        return found
