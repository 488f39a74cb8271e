"""The figures of a report: drawn where the records allow it, and the reason where they do not."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from distillbench.bench.records import Run
from distillbench.bench.records.tidy import hardware, latency_samples, tidy
from distillbench.reports.costs import Condition, conditions
from distillbench.reports.figures import (
    NothingToDrawError,
    accuracy_against_latency,
    accuracy_against_macs,
    latency_distribution,
    png,
    seeds_by_method,
)


@dataclass(frozen=True)
class Picture:
    """One figure of a report.

    Attributes:
        file: Its name beside the report.
        title: What it shows.
        data: The PNG; None where there was nothing to draw.
        text: The text alternative, or why there is no picture.
    """

    file: str
    title: str
    data: bytes | None
    text: str


def pictures(run: Run, summary: pd.DataFrame) -> list[Picture]:
    """Draw every figure of a report."""
    found = conditions(run.costs)
    where = _where(run, found[0]) if found else ""
    teacher = next((cell.model for cell in run.manifest.cells if cell.kind == "teacher"), None)
    return [
        _picture(
            "accuracy-latency.png",
            "Quality against latency",
            lambda: accuracy_against_latency(summary, where),
        ),
        _picture(
            "accuracy-macs.png",
            "Quality against multiply-accumulates",
            lambda: accuracy_against_macs(summary),
        ),
        _picture("seeds.png", "Every seed", lambda: seeds_by_method(summary, tidy(run))),
        _picture(
            "latency.png",
            "Distribution of latency",
            lambda: latency_distribution(_samples(run, found), teacher, where + _untimed(run)),
        ),
    ]


def _picture(file: str, title: str, draw: Callable[[], tuple[Figure, str]]) -> Picture:
    try:
        figure, alt = draw()
    except NothingToDrawError as reason:
        return Picture(file, title, None, str(reason))
    return Picture(file, title, png(figure, alt), alt)


def _where(run: Run, condition: Condition) -> str:
    names = [hardware(cost, condition.device) for cost in run.costs.values()]
    return ", ".join([condition.phrase, *dict.fromkeys(names)])


def _untimed(run: Run) -> str:
    missing = [name for name in run.manifest.costs if name not in run.costs]
    return f"; not measured: {', '.join(missing)}" if missing else ""


def _samples(run: Run, found: list[Condition]) -> pd.DataFrame:
    """Return the latency samples of the headline condition."""
    samples = latency_samples(run)
    if not found:
        return samples
    return samples[
        (samples["device"] == found[0].device)
        & (samples["batch_size"] == found[0].batch_size)
        & (samples["threads"] == found[0].threads)
    ]
