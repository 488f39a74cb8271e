"""Several inputs, a model for each, and one classifier: late fusion."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillbench.bench.models.part import NOTHING, build_part


class Fusion(nn.Module):
    """Classifies what several branches, each with its own inputs, say together.

    Args:
        num_classes: Classes.
        branches: For each branch `model`, a name in the zoo or `package.module:callable`;
            `inputs`, one name, passed by position, or several, by keyword; and `options`.
        width: Outputs of each branch.
        facts: What the branches' parameters of these names are filled in with: `vocabulary`, ...
    """

    def __init__(
        self,
        *,
        num_classes: int,
        branches: Sequence[Mapping[str, Any]],
        width: int = 32,
        facts: Mapping[str, Any] = NOTHING,
    ) -> None:
        super().__init__()
        self._inputs = [_inputs_of(branch) for branch in branches]
        self.branches = nn.ModuleList(
            build_part(branch["model"], width, branch.get("options", {}), facts)
            for branch in branches
        )
        self.classifier = nn.Linear(width * len(self.branches), num_classes)

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return logits, (N, num_classes), of the inputs that the branches name."""
        found = []
        for branch, names in zip(self.branches, self._inputs, strict=True):
            if isinstance(names, str):
                found.append(branch(inputs[names]))
            else:
                found.append(branch(**{name: inputs[name] for name in names}))
        logits: Tensor = self.classifier(F.relu(torch.cat(found, dim=1)))
        return logits


def _inputs_of(branch: Mapping[str, Any]) -> str | tuple[str, ...]:
    """Return the inputs that a branch names.

    Raises:
        ValueError: It lacks a key, or has one too many.
    """
    odd = {"model", "inputs"} - set(branch) or set(branch) - {"model", "inputs", "options"}
    if odd:
        raise ValueError(
            f"a branch has the keys {sorted(branch)}; expected model, inputs and, if any, options"
        )
    names = branch["inputs"]
    return names if isinstance(names, str) else tuple(names)
