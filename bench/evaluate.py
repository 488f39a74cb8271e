"""Quality of a model on whole splits, against the labels and against the teacher."""

from collections.abc import Mapping

import torch
from torch import Tensor

from distillbench.bench.tasks.task import Task
from distillbench.distill.loop import Score
from distillbench.distill.method import Head
from distillbench.distill.network import Network
from distillbench.distill.teacher import Predictions, predict
from distillbench.metrics import (
    mean_absolute_error,
    negative_log_likelihood,
    r_squared,
    root_mean_squared_error,
    top1_agreement,
    top_k_accuracy,
)

Quality = dict[str, dict[str, dict[str, float | None]]]
Predicted = Mapping[str, Predictions]
"""Predictions by split."""


def predict_splits(network: Network, task: Task) -> Predicted:
    """Return what a network predicts on the training and the test split."""
    return {name: predict(network, task.splits[name]) for name in ("train", "test")}


def rate(own: Predicted, teacher: Predicted, task: Task) -> Quality:
    """Return every measure by split, head and name."""
    return {
        split: {
            head.name: _measures(
                head,
                found.logits[head.name],
                found.targets[head.name],
                teacher[split].logits[head.name],
            )
            for head in task.heads
        }
        for split, found in own.items()
    }


def _measures(
    head: Head, logits: Tensor, target: Tensor, teacher: Tensor
) -> dict[str, float | None]:
    if head.kind == "regression":
        return {
            "mae": mean_absolute_error(logits, target),
            "rmse": root_mean_squared_error(logits, target),
            "r2": r_squared(logits, target),
        }
    return {
        "top1": top_k_accuracy(logits, target),
        "top5": top_k_accuracy(logits, target, k=5) if head.classes >= 5 else None,
        "nll": negative_log_likelihood(logits, target),
        "agreement": top1_agreement(logits, teacher),
    }


def validation_score(task: Task, inputs: str | tuple[str, ...] | None) -> Score:
    """Return a function that rates a model on the validation split; larger is better.

    It is top-1 accuracy of the first head, or minus the error of a regression head.
    """
    head = task.heads[0]

    def score(module: torch.nn.Module) -> float:
        found = predict(Network(module, inputs), task.validation)
        logits, target = found.logits[head.name], found.targets[head.name]
        if head.kind == "regression":
            return -root_mean_squared_error(logits, target)
        return top_k_accuracy(logits, target)

    return score
