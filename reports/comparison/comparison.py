"""What two runs have in common, compared, and which of it is a regression beyond noise."""

from collections.abc import Iterator
from dataclasses import dataclass

from distillbench.bench.records import Run
from distillbench.reports import numbers
from distillbench.reports.comparison.costs import (
    Counted,
    Timed,
    counted,
    hardware_differences,
    timed,
)
from distillbench.reports.comparison.quality import (
    Change,
    changes,
    in_one_only,
    measure_of_runs,
)
from distillbench.reports.measures import Measure


@dataclass(frozen=True)
class Limits:
    """How much worse the second run may be.

    Attributes:
        accuracy_drop: Of the headline, in the unit that reports show (points of accuracy).
        latency_ratio: Of medians, second over first.

    Raises:
        ValueError: The drop is below 0, or the ratio below 1.
    """

    accuracy_drop: float = 0.5
    latency_ratio: float = 1.1

    def __post_init__(self) -> None:
        if not self.accuracy_drop >= 0:
            raise ValueError(f"accuracy drop is {self.accuracy_drop}; expected 0 or more points")
        if not self.latency_ratio >= 1:
            raise ValueError(f"latency ratio is {self.latency_ratio}; expected 1 or more")


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side; the first is called A, the second B.

    Attributes:
        changes: The headline by model and method; empty where the tasks differ.
        missing: Cells that finished in one run only: id, status in A, status in B.
        remarks: What cannot be compared, and why.
        regressions: What is worse in B by more than the limits and beyond noise.
    """

    first: Run
    second: Run
    measure: Measure
    limits: Limits
    changes: tuple[Change, ...]
    counted: tuple[Counted, ...]
    timed: tuple[Timed, ...]
    missing: tuple[tuple[str, str, str], ...]
    remarks: tuple[str, ...]
    regressions: tuple[str, ...]


def compare(first: Run, second: Run, limits: Limits | None = None) -> Comparison:
    """Compare two runs, which may be of different machines.

    A regression is a mean that is worse by more than the limit where the verdict on the change is
    `worse`, or a latency whose whole interval lies above the limit; not of a run that was timed
    beside other load, which says nothing of the model.
    """
    limits = limits or Limits()
    measure, differing = measure_of_runs(first, second), _task_differences(first, second)
    rows = [] if differing else changes(first, second, measure)
    times = timed(first, second)
    hardware = hardware_differences(first, second)
    remarks = [f"The tasks differ ({told}): quality is not compared." for told in differing[:1]]
    remarks += [f"The hardware differs ({told}): times are not compared." for told in hardware]
    busy = _disturbed(first, second)
    remarks += [
        f"Run {name} was timed beside other load: no time is called worse." for name in busy
    ]
    slower = [] if busy else [*_slowdowns(times, limits)]
    return Comparison(
        first,
        second,
        measure,
        limits,
        tuple(rows),
        tuple(counted(first, second)),
        tuple(times),
        tuple(in_one_only(first, second)),
        tuple(remarks),
        (*_drops(rows, measure, limits), *slower),
    )


def _task_differences(first: Run, second: Run) -> list[str]:
    """Return in what two runs do not measure the same thing."""
    a, b = first.manifest, second.manifest
    pairs = {
        "task": (a.suite.get("task"), b.suite.get("task")),
        "heads": ([h.name for h in a.heads], [h.name for h in b.heads]),
        "test samples": (a.samples.get("test"), b.samples.get("test")),
    }
    return [f"{what}: {x} in A, {y} in B" for what, (x, y) in pairs.items() if x != y]


def _drops(rows: list[Change], measure: Measure, limits: Limits) -> Iterator[str]:
    for row in rows:
        if row.change is None or row.word != "worse":
            continue
        worse = abs(row.change.mean) * measure.scale
        if worse > limits.accuracy_drop:
            name = f"{row.model} with {row.method}" if row.method else row.model
            shown = f"{numbers.change(row.change, measure)} {measure.difference_unit}".rstrip()
            yield f"{name}: test {measure.label} changed by {shown}"


def _disturbed(first: Run, second: Run) -> list[str]:
    """Return which of two runs was timed while the machine was not quiet."""
    return [
        name
        for name, run in (("A", first), ("B", second))
        if any(cost.warnings for cost in run.costs.values())
    ]


def _slowdowns(times: list[Timed], limits: Limits) -> Iterator[str]:
    for one in times:
        if one.ratio.low is not None and one.ratio.low > limits.latency_ratio:
            shown = f"{numbers.times(one.ratio.mean)} (at least {numbers.times(one.ratio.low)})"
            yield f"{one.ships}: median latency is {shown} that of A, {one.condition.phrase}"
