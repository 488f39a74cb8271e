"""What the metrics in the records are called, in which unit they are shown, which way is better.

Frames and CSV keep the records' own units (shares in [0, 1], nats); scaling is for reading.
"""

from collections.abc import Iterable
from dataclasses import dataclass

OTHER = "Other measures"


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
        family: The table of a report that shows it.
    """

    name: str
    label: str
    unit: str = ""
    scale: float = 1.0
    decimals: int = 3
    higher_is_better: bool = True
    family: str = OTHER

    @property
    def title(self) -> str:
        """The label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def difference_unit(self) -> str:
        """The unit of a difference: percentages differ by points."""
        return "points" if self.unit == "%" else self.unit


FIDELITY, CALIBRATION = "Fidelity to the teacher", "Calibration and proper scores"
ACCURACY, ROBUSTNESS, ERRORS = "Accuracy by class and group", "Robustness", "Errors"
FAMILIES = (FIDELITY, CALIBRATION, ACCURACY, ROBUSTNESS, ERRORS)
"""In the order of a report."""
NOTES = {
    ACCURACY: "Balanced accuracy is the mean recall of the classes, macro F1 the mean of their F1, "
    "and the worst class the lowest recall of any. Head, medium and tail are thirds of the classes "
    "by training samples; the worst group is the lowest of these. Many, medium and few shot are "
    "the classes of more than 100, 20 to 100, and fewer than 20 training samples.",
    CALIBRATION: "The Brier score sums squared errors over classes. ECE is the expected gap "
    "between confidence and accuracy in 15 bins of equal width, or of equal mass. After scaling, "
    "logits were divided by the temperature that fits the validation split best. Lower is better.",
    FIDELITY: "KL is that of the student from the teacher at temperature 1, per sample. JS "
    "distance is the root of the Jensen-Shannon divergence in bits, probability loyalty 1 "
    "minus it, label loyalty the share of equal answers, kappa the agreement beyond chance. "
    "Error transfer is the share of the teacher's errors that the student repeats with the same "
    "class: compare it with that of the student trained alone. Negative flips "
    "are samples that only the teacher gets right, positive flips only the student.",
    ROBUSTNESS: "Corrupted figures are means over image corruptions and five severities. mCE is "
    "the mean over corruptions of the error as a share of the teacher's (Hendrycks & Dietterich "
    "2019).",
    ERRORS: "Errors are in the target's unit; R² is the share of variance that is explained.",
}


def _share(name: str, label: str, family: str, *, higher: bool = True) -> Measure:
    return Measure(name, label, "%", 100, 2, higher, family)


def _number(name: str, label: str, family: str, *, higher: bool = False, unit: str = "") -> Measure:
    return Measure(name, label, unit, higher_is_better=higher, family=family)


_MEASURES = {
    measure.name: measure
    for measure in (
        _share("top1", "top-1", ACCURACY),
        _share("top5", "top-5", ACCURACY),
        _share("balanced_accuracy", "balanced accuracy", ACCURACY),
        _share("macro_f1", "macro F1", ACCURACY),
        _share("worst_class", "worst class", ACCURACY),
        _share("head", "head classes", ACCURACY),
        _share("medium", "medium classes", ACCURACY),
        _share("tail", "tail classes", ACCURACY),
        _share("worst_group", "worst group", ACCURACY),
        _share("many_shot", "many shot", ACCURACY),
        _share("medium_shot", "medium shot", ACCURACY),
        _share("few_shot", "few shot", ACCURACY),
        _number("nll", "NLL", CALIBRATION, unit="nats"),
        _number("brier", "Brier score", CALIBRATION),
        _share("ece", "ECE", CALIBRATION, higher=False),
        _share("ece_mass", "ECE, equal mass", CALIBRATION, higher=False),
        _share("ece_scaled", "ECE after scaling", CALIBRATION, higher=False),
        _number("temperature", "fitted temperature", CALIBRATION),
        _share("agreement", "agreement", FIDELITY),
        _number("kl", "KL from the teacher", FIDELITY, unit="nats"),
        _number("js_distance", "JS distance", FIDELITY),
        _number("label_loyalty", "label loyalty", FIDELITY, higher=True),
        _number("probability_loyalty", "probability loyalty", FIDELITY, higher=True),
        _number("kappa", "kappa", FIDELITY, higher=True),
        _share("error_transfer", "error transfer", FIDELITY, higher=False),
        _share("negative_flips", "negative flips", FIDELITY, higher=False),
        _share("positive_flips", "positive flips", FIDELITY),
        _number("cka", "CKA with the teacher", FIDELITY, higher=True),
        _share("corrupted_top1", "top-1 under corruption", ROBUSTNESS),
        _share("corrupted_ece", "ECE under corruption", ROBUSTNESS, higher=False),
        _share("mce", "mCE", ROBUSTNESS, higher=False),
        _share("worst_modality", "top-1 without the modality needed most", ROBUSTNESS),
        _number("rmse", "RMSE", ERRORS),
        _number("mae", "MAE", ERRORS),
        _number("r2", "R²", ERRORS, higher=True),
    )
}

GAP_CLOSED = Measure("gap_closed", "gap closed", "%", 100, 1)
DELTA_M = Measure("delta_m", "change over tasks", "%", 100, 2)
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
