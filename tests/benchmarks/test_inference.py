"""Forward passes of the suite's teacher and student, alone and in a batch."""

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from tests.benchmarks.conftest import CLASSES, SHAPE, suite_cnn


@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.parametrize("batch", [1, 32])
def test_forward(benchmark: BenchmarkFixture, role: str, batch: int) -> None:
    benchmark.group = f"inference, batch {batch}"
    model = suite_cnn(role).eval()
    inputs = torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = benchmark(model, inputs)
    assert logits.shape == (batch, CLASSES)
