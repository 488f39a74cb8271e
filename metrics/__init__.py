"""Measurements of models: what was kept (quality) and what it costs.

Each file holds one measurement; this package knows models and tensors, never suites or files.
Names are imported on first use: what is plain arithmetic does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distillbench.metrics.accuracy import top_k_accuracy
    from distillbench.metrics.agreement import top1_agreement
    from distillbench.metrics.amounts import UndefinedError
    from distillbench.metrics.brier import brier_score
    from distillbench.metrics.calibration import (
        ReliabilityCurve,
        expected_calibration_error,
        reliability_curve,
    )
    from distillbench.metrics.churn import ChurnReport, measure_churn
    from distillbench.metrics.cka import CkaReport, linear_cka
    from distillbench.metrics.classes import (
        ClassRecall,
        balanced_accuracy,
        class_recalls,
        macro_f1,
        worst_class,
        worst_class_recall,
    )
    from distillbench.metrics.comparison import LatencyComparison, ModelLatency, compare_latency
    from distillbench.metrics.composites import distillation_score, information_density, net_score
    from distillbench.metrics.confusion import confusion_matrix, confusions
    from distillbench.metrics.corruption_error import (
        corruption_errors,
        mean_corruption_error,
        mean_under_corruption,
    )
    from distillbench.metrics.corruptions import CORRUPTIONS, SEVERITIES, corrupt
    from distillbench.metrics.cross_check import CrossCheck
    from distillbench.metrics.divergence import (
        js_distance,
        kl_divergence,
        label_loyalty,
        probability_loyalty,
    )
    from distillbench.metrics.energy import EnergyReport, measure_energy
    from distillbench.metrics.error_transfer import ErrorTransferReport, measure_error_transfer
    from distillbench.metrics.forward import ForwardError
    from distillbench.metrics.grouping import tercile_groups, threshold_groups
    from distillbench.metrics.groups import (
        GroupAccuracy,
        accuracy_by_group,
        group_accuracy,
        worst_group,
        worst_group_accuracy,
    )
    from distillbench.metrics.inputs import Inputs
    from distillbench.metrics.kappa import cohen_kappa
    from distillbench.metrics.latency import LatencyReport, measure_latency
    from distillbench.metrics.latency_config import LatencyConfig
    from distillbench.metrics.likelihood import negative_log_likelihood
    from distillbench.metrics.machine import describe_machine
    from distillbench.metrics.macs import MacReport, count_macs
    from distillbench.metrics.memory import MemoryReport, measure_memory
    from distillbench.metrics.modalities import lowest_without
    from distillbench.metrics.multitask import delta_m
    from distillbench.metrics.params import ParamReport, count_params
    from distillbench.metrics.regression import (
        mean_absolute_error,
        r_squared,
        root_mean_squared_error,
    )
    from distillbench.metrics.relative import (
        chance_corrected_retention,
        compression,
        gap_closed,
        retention,
        speed_up,
    )
    from distillbench.metrics.size import weight_file_bytes
    from distillbench.metrics.temperature import (
        TemperatureFit,
        fit_temperature,
        scaled_calibration_error,
    )
    from distillbench.metrics.throughput import ThroughputPoint, ThroughputSweep, sweep_throughput

_HOME = {
    "accuracy": ("top_k_accuracy",),
    "agreement": ("top1_agreement",),
    "amounts": ("UndefinedError",),
    "brier": ("brier_score",),
    "calibration": (
        "ReliabilityCurve",
        "expected_calibration_error",
        "reliability_curve",
    ),
    "churn": (
        "ChurnReport",
        "measure_churn",
    ),
    "cka": (
        "CkaReport",
        "linear_cka",
    ),
    "classes": (
        "ClassRecall",
        "balanced_accuracy",
        "class_recalls",
        "macro_f1",
        "worst_class",
        "worst_class_recall",
    ),
    "comparison": (
        "LatencyComparison",
        "ModelLatency",
        "compare_latency",
    ),
    "composites": (
        "distillation_score",
        "information_density",
        "net_score",
    ),
    "confusion": (
        "confusion_matrix",
        "confusions",
    ),
    "corruption_error": (
        "corruption_errors",
        "mean_corruption_error",
        "mean_under_corruption",
    ),
    "corruptions": (
        "CORRUPTIONS",
        "SEVERITIES",
        "corrupt",
    ),
    "cross_check": ("CrossCheck",),
    "divergence": (
        "js_distance",
        "kl_divergence",
        "label_loyalty",
        "probability_loyalty",
    ),
    "energy": (
        "EnergyReport",
        "measure_energy",
    ),
    "error_transfer": (
        "ErrorTransferReport",
        "measure_error_transfer",
    ),
    "forward": ("ForwardError",),
    "grouping": (
        "tercile_groups",
        "threshold_groups",
    ),
    "groups": (
        "GroupAccuracy",
        "accuracy_by_group",
        "group_accuracy",
        "worst_group",
        "worst_group_accuracy",
    ),
    "inputs": ("Inputs",),
    "kappa": ("cohen_kappa",),
    "latency": (
        "LatencyReport",
        "measure_latency",
    ),
    "latency_config": ("LatencyConfig",),
    "likelihood": ("negative_log_likelihood",),
    "machine": ("describe_machine",),
    "macs": (
        "MacReport",
        "count_macs",
    ),
    "memory": (
        "MemoryReport",
        "measure_memory",
    ),
    "modalities": ("lowest_without",),
    "multitask": ("delta_m",),
    "params": (
        "ParamReport",
        "count_params",
    ),
    "regression": (
        "mean_absolute_error",
        "r_squared",
        "root_mean_squared_error",
    ),
    "relative": (
        "chance_corrected_retention",
        "compression",
        "gap_closed",
        "retention",
        "speed_up",
    ),
    "size": ("weight_file_bytes",),
    "temperature": (
        "TemperatureFit",
        "fit_temperature",
        "scaled_calibration_error",
    ),
    "throughput": (
        "ThroughputPoint",
        "ThroughputSweep",
        "sweep_throughput",
    ),
}

__all__ = [
    "CORRUPTIONS",
    "SEVERITIES",
    "ChurnReport",
    "CkaReport",
    "ClassRecall",
    "CrossCheck",
    "EnergyReport",
    "ErrorTransferReport",
    "ForwardError",
    "GroupAccuracy",
    "Inputs",
    "LatencyComparison",
    "LatencyConfig",
    "LatencyReport",
    "MacReport",
    "MemoryReport",
    "ModelLatency",
    "ParamReport",
    "ReliabilityCurve",
    "TemperatureFit",
    "ThroughputPoint",
    "ThroughputSweep",
    "UndefinedError",
    "accuracy_by_group",
    "balanced_accuracy",
    "brier_score",
    "chance_corrected_retention",
    "class_recalls",
    "cohen_kappa",
    "compare_latency",
    "compression",
    "confusion_matrix",
    "confusions",
    "corrupt",
    "corruption_errors",
    "count_macs",
    "count_params",
    "delta_m",
    "describe_machine",
    "distillation_score",
    "expected_calibration_error",
    "fit_temperature",
    "gap_closed",
    "group_accuracy",
    "information_density",
    "js_distance",
    "kl_divergence",
    "label_loyalty",
    "linear_cka",
    "lowest_without",
    "macro_f1",
    "mean_absolute_error",
    "mean_corruption_error",
    "mean_under_corruption",
    "measure_churn",
    "measure_energy",
    "measure_error_transfer",
    "measure_latency",
    "measure_memory",
    "negative_log_likelihood",
    "net_score",
    "probability_loyalty",
    "r_squared",
    "reliability_curve",
    "retention",
    "root_mean_squared_error",
    "scaled_calibration_error",
    "speed_up",
    "sweep_throughput",
    "tercile_groups",
    "threshold_groups",
    "top1_agreement",
    "top_k_accuracy",
    "weight_file_bytes",
    "worst_class",
    "worst_class_recall",
    "worst_group",
    "worst_group_accuracy",
]


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
