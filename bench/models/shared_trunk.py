"""One trunk for several heads: hard parameter sharing (Caruana 1997, "Multitask Learning")."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from distillbench.bench.models.part import build_part


class SharedTrunk(nn.Module):
    """Any classifier as a trunk, whose outputs are the features of a linear layer for each head.

    Args:
        heads: Classes of each head, or values of a regression head.
        trunk: A name in the zoo, or `package.module:callable`.
        width: Outputs of the trunk, which every head sees.
        options: Keyword arguments of the trunk.
        in_channels: Channels of images, for a trunk that asks.
        input_shape: Shape of one sample, likewise.
        features: Features of a frame, likewise.
        vocabulary: Number of tokens, likewise.
    """

    def __init__(
        self,
        *,
        heads: Mapping[str, int],
        trunk: str = "cnn",
        width: int = 64,
        options: Mapping[str, Any] | None = None,
        in_channels: int | None = None,
        input_shape: Sequence[int] | None = None,
        features: int | None = None,
        vocabulary: int | None = None,
    ) -> None:
        super().__init__()
        facts = {
            "num_classes": width,
            "in_channels": in_channels,
            "input_shape": input_shape,
            "features": features,
            "vocabulary": vocabulary,
        }
        self.trunk = build_part(trunk, options or {}, facts)
        self.heads = nn.ModuleDict({name: nn.Linear(width, count) for name, count in heads.items()})

    def forward(self, *inputs: Tensor, **named: Tensor) -> dict[str, Tensor]:
        """Return logits, (N, C), or values, (N, D), by head, of what the trunk takes."""
        features = F.relu(self.trunk(*inputs, **named))
        return {name: head(features) for name, head in self.heads.items()}
