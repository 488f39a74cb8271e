"""Statistics of a comparison, shared by the harness and the reports."""

from distillbench.bench.statistics.fronts import hypervolume, pareto_front
from distillbench.bench.statistics.intervals import LEVEL, Estimate, t_interval
from distillbench.bench.statistics.multiplicity import holm
from distillbench.bench.statistics.paired import (
    equivalence_p,
    improvement,
    paired_difference,
    paired_t_p,
    sign_flip_p,
)
from distillbench.bench.statistics.power import detectable, seeds_needed
from distillbench.bench.statistics.quantiles import SAMPLES_NEEDED, quantile
from distillbench.bench.statistics.verdicts import Verdict, judge

__all__ = [
    "LEVEL",
    "SAMPLES_NEEDED",
    "Estimate",
    "Verdict",
    "detectable",
    "equivalence_p",
    "holm",
    "hypervolume",
    "improvement",
    "judge",
    "paired_difference",
    "paired_t_p",
    "pareto_front",
    "quantile",
    "seeds_needed",
    "sign_flip_p",
    "t_interval",
]
