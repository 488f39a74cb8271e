"""Negative log-likelihood over a whole split, computed in float64.

The mean over a split of float32 log-probabilities drifts with the order of summation; in float64
the figure is the same to the digits that anyone prints.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from distillbench.metrics.checks import check_labels, check_logits


def negative_log_likelihood(logits: Tensor, target: Tensor) -> float:
    """Return the mean of -log p(label) in nats, p being the softmax of the logits.

    Args:
        logits: (N, C) class scores before softmax.
        target: (N,) class indices.

    Raises:
        ValueError: for a row that cannot be scored.
    """
    check_logits("logits", logits)
    check_labels(target, logits)
    label = target.to(device=logits.device, dtype=torch.int64)
    return float(F.cross_entropy(logits.double(), label))
