"""Deferred re-weighting: features from all samples alike, then all classes alike."""

import torch.nn.functional as F
from torch import Tensor

from distillbench.distill.imbalance import BalancedMethod, check_share, effective_weights
from distillbench.distill.method import Batch


def reweighted_loss(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of the cross-entropy over N, weighted by the samples' classes.

    It is divided by the sum of the batch's weights, as the authors' code does.

    Args:
        logits: (N, C).
        target: (N,) class indices.
        weights: (C,), of each class.
    """
    return F.cross_entropy(logits, target, weights)


class DeferredReweighting(BalancedMethod):
    """Train the student with CE first, and with class weights once most of the training is done.

    From the epoch at which the share `start` is done, each sample weighs
    w_y = (1 - beta) / (1 - beta^n_y), and the batch's loss is sum(w_y·CE) / sum(w_y), in the place
    of CE. The authors start at epoch 160 of 200, where they also divide the learning rate by 100,
    which here the recipe's schedule decides; their LDAM loss, with which they combine it, is not
    part of this method. No teacher is used; the weight `kd` adds one.

    Args:
        start: Share of the epochs before weights apply, in [0, 1); default 0.8.
        beta: In [0, 1); default 0.9999.
    """

    year = 2019
    paper = (
        "Cao et al.: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss. "
        "NeurIPS"
    )
    default_weights = {"ce": 0.0, "deferred_ce": 1.0}
    term = "deferred_ce"
    relates_samples = True

    def __init__(self, *, start: float = 0.8, beta: float = 0.9999) -> None:
        super().__init__()
        check_share("start", start)
        check_share("beta", beta)
        self.start, self.beta = start, beta

    def supervised(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy, weighted by class in the last epochs."""
        if batch.progress.epoch < self.start * batch.progress.epochs:
            return F.cross_entropy(logits, batch.target)
        weights = effective_weights(batch.head, self.beta, logits)
        return reweighted_loss(logits, batch.target, weights)
