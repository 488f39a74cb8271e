"""Per-class differences: which classes a method helps, and which it gives up for the mean."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distillbench.reports import numbers
from distillbench.reports.figures import panels, style

ByClass = Mapping[int, float]
"""Difference in points by the number of the class."""


def class_differences(
    recalls: pd.DataFrame, control: str, missing: Sequence[str] = ()
) -> tuple[Figure, str]:
    """Draw each class as a dot: its recall less that of the student trained alone.

    Differences are paired by seed and averaged; the classes at both ends are named by number.

    Args:
        recalls: What `recalls` returns.
        control: The name of the student trained alone.
        missing: What did not finish, in words.

    Returns:
        The figure and its text alternative.

    Raises:
        NothingToDrawError: No predictions of a method and of the student trained alone were kept.
    """
    found = _differences(recalls[recalls["kind"] == "student"], control)
    if not found:
        raise style.NothingToDrawError(
            "no predictions of a method and of the student trained alone were kept"
        )
    students, more = panels.shown([model for model, _ in found])
    methods = list(dict.fromkeys(method for _, method in found))
    looks, left = style.looks(methods), [*missing, *more]
    with style.styled():
        figure = style.new_figure(panels.rows_high(students, 0.7 + 0.36 * len(methods)) + 0.6)
        for student, axes in zip(students, panels.grid(figure, students, sharey=True), strict=True):
            panels.name_rows(axes, methods)
            axes.axvline(0, color=style.QUIET, lw=1, zorder=0.9)
            axes.margins(x=0.13)
            for place, method in enumerate(methods):
                if (student, method) in found:
                    _row(axes, found[student, method], place, looks[method])
                else:
                    panels.remark(axes, "no predictions", place)
        label = f"recall of each class less that of {style.label(control)} (points)"
        label += "; numbers: the classes at both ends"
        figure.supxlabel("\n".join([label, *style.incomplete(left)]), fontsize=9)
    return figure, _alt(found, control, left)


def _differences(own: pd.DataFrame, control: str) -> dict[tuple[str, str], ByClass]:
    """Return the mean paired difference in points by class, for each model and method."""
    found: dict[tuple[str, str], ByClass] = {}
    keys = ["seed", "class"]
    for model, part in own.groupby("model", sort=False):
        indexed = {str(m): rows.set_index(keys) for m, rows in part.groupby("method", sort=False)}
        base = indexed.pop(control, None)
        for method, values in indexed.items():
            if base is None:
                break
            paired = (values["recall"] - base["recall"]).dropna()
            means = 100 * paired.groupby(level="class").mean()
            if len(means):
                found[str(model), method] = dict(zip(means.index, means.tolist(), strict=True))
    return found


def _ends(values: ByClass) -> tuple[int, int]:
    """Return the classes of the lowest and of the highest difference."""
    return min(values, key=lambda one: values[one]), max(values, key=lambda one: values[one])


def _row(axes: Axes, values: ByClass, place: int, look: style.Look) -> None:
    # Equal values would hide each other: spread them over the row in the order of the classes.
    spread = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else np.zeros(1)
    heights = dict(zip(values, place + spread, strict=True))
    axes.plot(
        list(values.values()),
        list(heights.values()),
        look.marker,
        ms=4,
        color=look.colour,
        mfc="none",
        mew=0.9,
        alpha=0.8,
    )
    for end, side in zip(_ends(values), (-1, 1), strict=True):
        axes.annotate(
            str(end),
            (values[end], heights[end]),
            (5 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=6.5,
        )


def _alt(found: Mapping[tuple[str, str], ByClass], control: str, missing: Sequence[str]) -> str:
    told = []
    for (model, method), values in found.items():
        low, high = _ends(values)
        ends = f"class {low} {numbers.signed(values[low], 1)} to class {high}"
        told.append(f"{model} with {method} from {ends} {numbers.signed(values[high], 1)} points")
    text = (
        f"Recall of each class less that of {control}, paired by seed, one dot per class: "
        f"{style.listed(told)}"
    )
    return f"{text}. Incomplete: {style.listed(missing)}." if missing else f"{text}."
