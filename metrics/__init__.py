"""Measurements of models: what was kept (quality) and what it costs.

Each file holds one measurement; this package knows models and tensors, never suites or files.
"""

from distillbench.metrics.accuracy import top_k_accuracy
from distillbench.metrics.agreement import top1_agreement
from distillbench.metrics.comparison import LatencyComparison, ModelLatency, compare_latency
from distillbench.metrics.cross_check import CrossCheck
from distillbench.metrics.energy import EnergyReport, measure_energy
from distillbench.metrics.forward import ForwardError
from distillbench.metrics.inputs import Inputs
from distillbench.metrics.latency import LatencyReport, measure_latency
from distillbench.metrics.latency_config import LatencyConfig
from distillbench.metrics.likelihood import negative_log_likelihood
from distillbench.metrics.machine import describe_machine
from distillbench.metrics.macs import MacReport, count_macs
from distillbench.metrics.memory import MemoryReport, measure_memory
from distillbench.metrics.params import ParamReport, count_params
from distillbench.metrics.regression import (
    mean_absolute_error,
    r_squared,
    root_mean_squared_error,
)
from distillbench.metrics.size import weight_file_bytes
from distillbench.metrics.throughput import ThroughputPoint, ThroughputSweep, sweep_throughput

__all__ = [
    "CrossCheck",
    "EnergyReport",
    "ForwardError",
    "Inputs",
    "LatencyComparison",
    "LatencyConfig",
    "LatencyReport",
    "MacReport",
    "MemoryReport",
    "ModelLatency",
    "ParamReport",
    "ThroughputPoint",
    "ThroughputSweep",
    "compare_latency",
    "count_macs",
    "count_params",
    "describe_machine",
    "mean_absolute_error",
    "measure_energy",
    "measure_latency",
    "measure_memory",
    "negative_log_likelihood",
    "r_squared",
    "root_mean_squared_error",
    "sweep_throughput",
    "top1_agreement",
    "top_k_accuracy",
    "weight_file_bytes",
]
