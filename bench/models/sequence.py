"""What the models of sequences share: how steps become vectors, and their mean without padding."""

import torch
from torch import Tensor, nn

TOKEN_DEVIATION = 0.02
"""Of a token's vector at first, as BERT's: small, so that a token seen rarely says little."""


def embedding(width: int, features: int | None, vocabulary: int | None) -> nn.Module:
    """Return a layer that turns token numbers, (N, L), or frames, (N, L, F), into (N, L, width).

    Args:
        width: Length of a vector.
        features: F, of frames.
        vocabulary: Number of tokens; goes before `features`.

    Raises:
        ValueError: Neither is given.
    """
    if vocabulary is not None:
        tokens = nn.Embedding(vocabulary, width)
        nn.init.normal_(tokens.weight, std=TOKEN_DEVIATION)
        return tokens
    if features is not None:
        return nn.Linear(features, width)
    raise ValueError("the model needs features, of frames, or a vocabulary, of tokens: give one")


def real_steps(steps: Tensor, lengths: Tensor) -> Tensor:
    """Return which steps of sequences, (N, L, ...), are not padding, (N, L)."""
    return torch.arange(steps.shape[1], device=steps.device) < lengths[:, None]


def mean_step(vectors: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the mean vector, (N, D), of the steps, (N, L, D), that are not padding."""
    if lengths is None:
        return vectors.mean(dim=1)
    real = real_steps(vectors, lengths).unsqueeze(2)
    return vectors.mul(real).sum(dim=1) / lengths.clamp_min(1).unsqueeze(1)
