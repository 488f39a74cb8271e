"""Texts as token numbers, by a byte-pair encoding that is trained on the training texts alone.

Sennrich et al. 2016, as Hugging Face's `tokenizers` has it. Token 0 is padding and 1 is unknown.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from distillbench.bench.errors import ConfigError
from distillbench.bench.tasks.features import cached, padded

PADDING, UNKNOWN = "[PAD]", "[UNK]"


def tokenised(
    train: Sequence[str], others: Sequence[str], vocabulary: int, length: int
) -> dict[str, Tensor]:
    """Return texts as `sequence`, (N, length), and `lengths`, (N,), those of training first.

    The encoding knows the training texts only. A text of no known characters is one unknown token.

    Args:
        train: Texts that the encoding is trained on.
        others: Further texts.
        vocabulary: The most tokens that it may have.
        length: Tokens of a text that are kept, from its beginning.

    Raises:
        ConfigError: A number is too small, or the library is missing.
    """
    if length < 1 or vocabulary < 2:
        raise ConfigError(
            f"length is {length} and vocabulary {vocabulary}; expected 1 and 2, or more"
        )
    try:
        import tokenizers
    except ImportError as error:
        raise ConfigError(
            "text needs tokenizers, which is not installed: pip install 'distillbench[text]'"
        ) from error

    def compute() -> dict[str, Tensor]:
        encoder = _trained(tokenizers, train, vocabulary)
        codes = [one.ids or [1] for one in encoder.encode_batch([*train, *others])]
        return padded([torch.tensor(one) for one in codes], length)

    parameters = {"vocabulary": vocabulary, "length": length, "tokenizers": tokenizers.__version__}
    return cached("tokens", _digest(train) + _digest(others), parameters, compute)


def _trained(tokenizers: Any, texts: Sequence[str], vocabulary: int) -> Any:
    encoder = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=UNKNOWN))
    encoder.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.NFKC(), tokenizers.normalizers.Lowercase()]
    )
    encoder.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[PADDING, UNKNOWN], show_progress=False
    )
    encoder.train_from_iterator(texts, trainer)
    return encoder


def _digest(texts: Sequence[str]) -> bytes:
    sha = hashlib.sha256()
    for text in texts:
        raw = text.encode()
        sha.update(len(raw).to_bytes(8) + raw)
    return sha.digest()
