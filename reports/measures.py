"""What the metrics in the records are called, in which unit they are shown, which way is better.

Frames and CSV keep the records' own units (shares in [0, 1], nats); scaling is for reading.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """How one metric is read.

    Attributes:
        name: The metric's name in the records.
        label: Its name for people.
        unit: Unit of the shown value; empty where it has none.
        scale: Factor from the recorded to the shown value.
        decimals: Digits after the point when shown.
        higher_is_better: The better direction.
    """

    name: str
    label: str
    unit: str = ""
    scale: float = 1.0
    decimals: int = 3
    higher_is_better: bool = True

    @property
    def title(self) -> str:
        """The label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def difference_unit(self) -> str:
        """The unit of a difference: percentages differ by points."""
        return "points" if self.unit == "%" else self.unit


_MEASURES = {
    measure.name: measure
    for measure in (
        Measure("top1", "top-1", "%", 100, 2),
        Measure("top5", "top-5", "%", 100, 2),
        Measure("agreement", "agreement", "%", 100, 2),
        Measure("nll", "NLL", "nats", higher_is_better=False),
        Measure("rmse", "RMSE", higher_is_better=False),
        Measure("mae", "MAE", higher_is_better=False),
        Measure("r2", "R²"),
    )
}

_HEADLINES = {"classification": ("top1",), "regression": ("rmse", "mae", "r2")}


def measure_of(metric: str) -> Measure:
    """Return how a metric is read; an unknown one is shown as it is recorded."""
    return _MEASURES.get(metric, Measure(metric, metric, decimals=4))


def headline(kind: str, recorded: Iterable[str]) -> Measure:
    """Return the metric that stands for a head: the usual one of its kind, where it is recorded."""
    found = set(recorded)
    usual = _HEADLINES.get(kind, ())
    name = next((metric for metric in usual if metric in found), usual[0] if usual else "top1")
    return measure_of(name)
