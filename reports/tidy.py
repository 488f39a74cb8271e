"""The tidy frames of a run, which the harness makes; named here for tables and figures."""

from distillbench.bench.tidy import (
    LATENCY_COLUMNS,
    NOT_RUN,
    QUALITY_COLUMNS,
    hardware,
    latency_samples,
    status_of,
    tidy,
)

__all__ = [
    "LATENCY_COLUMNS",
    "NOT_RUN",
    "QUALITY_COLUMNS",
    "hardware",
    "latency_samples",
    "status_of",
    "tidy",
]
