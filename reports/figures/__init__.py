"""Figures: each function takes frames and returns a matplotlib figure with its text alternative."""

from distillbench.reports.figures.achieved import latency_against_macs
from distillbench.reports.figures.classes import class_differences
from distillbench.reports.figures.intervals import gap_closed, paired_differences
from distillbench.reports.figures.latency import latency_distribution
from distillbench.reports.figures.learning import learning_curves
from distillbench.reports.figures.pareto import (
    accuracy_against_bytes,
    accuracy_against_latency,
    accuracy_against_macs,
    accuracy_against_parameters,
)
from distillbench.reports.figures.ranks import critical_difference_diagram
from distillbench.reports.figures.reliability import reliability_diagram
from distillbench.reports.figures.seeds import seeds_by_method
from distillbench.reports.figures.style import NothingToDrawError, png, themes
from distillbench.reports.figures.tasks import tasks_by_method
from distillbench.reports.figures.throughput import throughput_by_batch
from distillbench.reports.figures.tradeoff import gain_against_training

__all__ = [
    "NothingToDrawError",
    "accuracy_against_bytes",
    "accuracy_against_latency",
    "accuracy_against_macs",
    "accuracy_against_parameters",
    "class_differences",
    "critical_difference_diagram",
    "gain_against_training",
    "gap_closed",
    "latency_against_macs",
    "latency_distribution",
    "learning_curves",
    "paired_differences",
    "png",
    "reliability_diagram",
    "seeds_by_method",
    "tasks_by_method",
    "themes",
    "throughput_by_batch",
]
