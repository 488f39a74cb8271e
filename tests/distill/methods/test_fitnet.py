import pytest
import torch
from tests.conftest import small_cnn
from torch import nn

from distillbench.distill import FitNet, Network, Recipe, Tensors, distil
from distillbench.distill.methods.fitnet import hint_loss
from distillbench.distill.network import probe


def test_the_error_is_a_mean_over_all_positions() -> None:
    hint = torch.zeros(2, 3, 4, 4)
    assert hint_loss(hint, hint).item() == 0
    assert hint_loss(hint + 2, hint).item() == 4


def test_the_projector_is_trained_and_does_not_ship(data: Tensors, recipe: Recipe) -> None:
    method = FitNet()
    student = small_cnn(2)
    trained = distil(student, small_cnn(8), method, data, recipe)
    assert method.student_taps == method.teacher_taps == ("stages.1",)
    conv, norm = method.projector[0], method.projector[1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert trained.train_only_parameters == 4 * 16 + 2 * 16
    assert norm.num_batches_tracked == 3 * 4
    assert not torch.equal(norm.weight, torch.ones(16))
    assert set(trained.model.state_dict()) == set(small_cnn(2).state_dict())
    assert trained.history[-1].losses["hint"] < trained.history[0].losses["hint"]


def test_maps_of_different_size_are_averaged_and_noted(data: Tensors) -> None:
    method = FitNet(student_layer="stages.0")
    student, teacher = (probe(Network(small_cnn(width)), data) for width in (2, 4))
    method.prepare(student, teacher, data.heads[0])
    assert method.notes() == {
        "student_layer": "stages.0",
        "teacher_layer": "stages.1",
        "resized_to": [4, 4],
    }
    trained = distil(
        small_cnn(2), small_cnn(4), FitNet(student_layer="stages.0"), data, Recipe(batch_size=32)
    )
    assert trained.notes["resized_to"] == [4, 4]


def test_models_without_maps_are_refused(data: Tensors, recipe: Recipe) -> None:
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(ValueError, match="no layer that gives a feature map"):
        distil(student, small_cnn(4), FitNet(), data, recipe)
