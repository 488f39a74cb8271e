"""Learning curves: the validation score by epoch, where not, the training loss."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from distillbench.reports import numbers
from distillbench.reports.figures import panels, style

TITLES = {"score": "score on validation data", "loss": "training loss"}
NAMED = 9


def learning_curves(
    values: pd.DataFrame, control: str, missing: Sequence[str] = ()
) -> tuple[Figure, str]:
    """Draw the mean curve of each method, and those of single seeds faintly, a panel per student.

    Args:
        values: What `epochs` returns.
        control: The name of the student trained alone.
        missing: What did not finish, in words.

    Returns:
        The figure and its text alternative.

    Raises:
        NothingToDrawError: No student has the history of two epochs or more.
    """
    own = values[values["kind"] == "student"] if len(values) else values
    if not len(own) or own["epoch"].max() < 2:
        raise style.NothingToDrawError("no student has the history of two epochs or more")
    what = "score" if own["score"].notna().any() else "loss"
    methods = list(dict.fromkeys(own["method"]))
    looks = style.looks([str(method) for method in methods[:NAMED]], control)
    students, more = panels.shown([str(name) for name in own["model"]])
    more += [f"{len(methods) - NAMED} more methods are left out"] if methods[NAMED:] else []
    left = [*missing, *more]
    with style.styled():
        figure = style.new_figure(panels.rows_high(students, 2.3) + 0.9)
        for student, axes in zip(students, panels.grid(figure, students), strict=True):
            _panel(axes, own[own["model"] == student], what, looks)
        figure.supxlabel("\n".join(["epoch", *style.incomplete(left)]), fontsize=9)
        figure.supylabel(TITLES[what], fontsize=9)
        figure.legend(handles=style.handles(looks), loc="outside upper center", ncols=5)
    return figure, _alt(own, what, left)


def _panel(axes: Axes, own: pd.DataFrame, what: str, looks: dict[str, style.Look]) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    for method, look in looks.items():
        part = own[own["method"] == method].dropna(subset=[what])
        for _, seed in part.groupby("seed"):
            axes.plot(seed["epoch"], seed[what], color=look.colour, lw=0.6, alpha=0.35)
        mean = part.groupby("epoch")[what].mean()
        few = len(mean) < 8
        axes.plot(
            mean.index,
            mean,
            ls=look.line,
            marker=look.marker if few else "",
            ms=4,
            color=look.colour,
            lw=1.6,
        )


def _alt(own: pd.DataFrame, what: str, missing: Sequence[str]) -> str:
    told = []
    for (model, method), part in own.groupby(["model", "method"], sort=False):
        mean = part.groupby("epoch")[what].mean().dropna()
        if len(mean):
            ends = f"{numbers.three(mean.iloc[0])} to {numbers.three(mean.iloc[-1])}"
            told.append(f"{model} with {method} from {ends} over {int(mean.index[-1])} epochs")
    text = f"Learning curves of the {TITLES[what]}, means over seeds: {style.listed(told)}"
    return f"{text}. Incomplete: {style.listed(missing)}." if missing else f"{text}."
