"""What the models of sequences share: how steps become vectors."""

from torch import nn

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
