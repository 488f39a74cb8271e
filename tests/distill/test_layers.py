import pytest
from tests.conftest import small_cnn
from torch import nn

from distillbench.distill import Network, Tensors
from distillbench.distill.layers import last_map
from distillbench.distill.network import probe


def test_the_last_map_before_pooling_is_found(data: Tensors) -> None:
    assert last_map(probe(Network(small_cnn(4)), data)) == ("stages.1", (2, 8, 4, 4))


def test_a_layer_can_be_named(data: Tensors) -> None:
    seen = probe(Network(small_cnn(4)), data)
    assert last_map(seen, "stages.0.0") == ("stages.0.0", (2, 4, 8, 8))
    with pytest.raises(ValueError, match=r"no layer 'stages\.0\.9'; did you mean stages\.0\.\d"):
        last_map(seen, "stages.0.9")
    with pytest.raises(ValueError, match=r"'classifier' gives the shape \(2, 4\); expected a fea"):
        last_map(seen, "classifier")


def test_a_model_without_maps_is_refused(data: Tensors) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(ValueError, match="Sequential has no layer that gives a feature map"):
        last_map(probe(Network(model), data))
