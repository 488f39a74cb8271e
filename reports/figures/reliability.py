"""Reliability: how often a model is right where it is so and so sure; honest on the diagonal."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distillbench.reports.figures import panels, style

NAMED = 7
FEWEST = 5
"""Samples of a bin below which its share is chance, and is not drawn."""


def reliability_diagram(
    bins: pd.DataFrame, control: str, missing: Sequence[str] = ()
) -> tuple[Figure, str]:
    """Draw accuracy over confidence by bins, a line per method and a panel per student.

    Args:
        bins: What `reliability` returns.
        control: The name of the student trained alone.
        missing: What did not finish, in words.

    Returns:
        The figure and its text alternative.

    Raises:
        NothingToDrawError: No predictions of a student were kept.
    """
    own = bins[bins["kind"] == "student"]
    if not len(own):
        raise style.NothingToDrawError("no predictions of a student were kept")
    teacher = bins[bins["kind"] == "teacher"]
    methods = [str(name) for name in dict.fromkeys(own["method"])]
    looks = style.looks(methods[:NAMED], control)
    students, more = panels.shown([str(name) for name in own["model"]])
    more += [f"{len(methods) - NAMED} more methods are left out"] if methods[NAMED:] else []
    left = [*missing, *more]
    with style.styled():
        figure = style.new_figure(panels.rows_high(students, 2.2 if students[2:] else 2.9) + 0.9)
        axes = panels.grid(figure, students, sharex=True, sharey=True)
        for student, one in zip(students, axes, strict=True):
            part = own[own["model"] == student]
            one.plot([0, 1], [0, 1], color=style.QUIET, lw=1, zorder=0.9)
            if len(teacher):
                _line(one, teacher, style.TEACHER_LOOK)
            for method, look in looks.items():
                _line(one, part[part["method"] == method], look)
            one.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
        lines = ["confidence", *style.incomplete(left)]
        figure.supxlabel("\n".join(lines), fontsize=9)
        figure.supylabel("share of right answers", fontsize=9)
        known = {"teacher": style.TEACHER_LOOK} if len(teacher) else {}
        figure.legend(
            handles=style.handles({**known, **looks}), loc="outside upper center", ncols=5
        )
    return figure, _alt(bins, left)


def _line(axes: Axes, part: pd.DataFrame, look: style.Look) -> None:
    drawn = part[part["count"] >= FEWEST]
    axes.plot(
        drawn["confidence"],
        drawn["accuracy"],
        color=look.colour,
        ls=look.line,
        marker=look.marker,
        ms=7 if look is style.TEACHER_LOOK else 4.5,
        lw=1.3,
    )


def _alt(bins: pd.DataFrame, missing: Sequence[str]) -> str:
    told = []
    for (model, method), part in bins.groupby(["model", "method"], sort=False):
        weights = part["count"] / part["count"].sum()
        mean = (weights * part["confidence"]).sum(), (weights * part["accuracy"]).sum()
        name = f"{model} with {method}" if method else str(model)
        told.append(f"{name} mean confidence {100 * mean[0]:.1f} %, right {100 * mean[1]:.1f} %")
    text = (
        "Reliability diagram of the test split, accuracy against confidence in 15 bins, averaged "
        f"over seeds: {style.listed(told)}"
    )
    return f"{text}. Incomplete: {style.listed(missing)}." if missing else f"{text}."
