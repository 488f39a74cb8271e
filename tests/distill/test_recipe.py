import math

import pytest
from pydantic import ValidationError

from distillbench.distill import Recipe


def test_cosine_falls_to_zero_after_a_linear_rise() -> None:
    recipe = Recipe(epochs=10, lr=1.0, warmup_epochs=2)
    rates = [recipe.rate(step, 5) for step in range(50)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[9] == pytest.approx(10 / 11)
    assert rates[10] == 1.0
    assert rates[30] == pytest.approx(0.5)
    assert rates[49] == pytest.approx(0.5 * (1 + math.cos(math.pi * 39 / 40)))


def test_steps_fall_at_milestones() -> None:
    recipe = Recipe(epochs=4, lr=1.0, schedule="step", milestones=(1, 3))
    found = [recipe.rate(step, 2) for step in range(8)]
    assert found == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "greater than 0"),
        ({"lr": -1}, "greater than 0"),
        ({"momentum": 1.0}, "less than 1"),
        ({"epoch": 3}, "Extra inputs"),
        ({"schedule": "step"}, "needs at least one"),
        ({"milestones": [3]}, "belong to the schedule 'step'"),
    ],
)
def test_bad_recipes_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate(options)


def test_an_augmentation_may_be_a_name() -> None:
    recipe = Recipe.model_validate({"augment": ["random_flip"]})
    assert recipe.augment[0].name == "random_flip"
