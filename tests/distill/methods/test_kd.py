import math

import pytest
import torch
from scipy.special import rel_entr, softmax

from distillbench.distill import KD, Head, Probe
from distillbench.distill.methods.kd import kd_loss


def test_it_is_the_divergence_of_softened_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(7, 5, generator=generator).double() for _ in range(2))
    for temperature in (1.0, 4.0):
        p, q = (softmax(z.numpy() / temperature, axis=1) for z in (teacher, student))
        wanted = temperature**2 * rel_entr(p, q).sum(axis=1).mean()
        assert kd_loss(student, teacher, temperature).item() == pytest.approx(wanted, rel=1e-12)


def test_it_is_zero_at_equality_and_never_negative() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert kd_loss(logits, logits, 4.0).item() == pytest.approx(0, abs=1e-6)
    assert kd_loss(logits, logits.flip(0), 4.0).item() > 0


def test_its_gradient_is_the_difference_of_probabilities() -> None:
    student = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).double()
    teacher = student.flip(1).clone().requires_grad_()
    student.requires_grad_()
    temperature = 4.0
    kd_loss(student, teacher.detach(), temperature).backward()  # type: ignore[no-untyped-call]
    p, q = ((z / temperature).softmax(1) for z in (teacher, student))
    torch.testing.assert_close(student.grad, temperature * (q - p).detach() / 6)
    assert teacher.grad is None


def test_it_tends_to_the_distance_of_centred_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(8, 5, generator=generator).double() for _ in range(2))
    gap = student - teacher
    wanted = (gap - gap.mean(1, keepdim=True)).square().sum(1).mean() / (2 * 5)
    assert kd_loss(student, teacher, 1e4).item() == pytest.approx(wanted.item(), rel=1e-3)


def test_the_mean_does_not_depend_on_the_batch_size() -> None:
    student, teacher = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    whole = kd_loss(student, teacher, 2.0)
    parts = [kd_loss(student[i : i + 1], teacher[i : i + 1], 2.0) for i in range(3)]
    torch.testing.assert_close(whole, torch.stack(parts).mean())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite(dtype: torch.dtype) -> None:
    student = torch.tensor([[1e4, -1e4, 0.0]], dtype=dtype, requires_grad=True)
    loss = kd_loss(student, torch.tensor([[-1e4, 1e4, 0.0]], dtype=dtype), 4.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert math.isfinite(loss.item())
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_bad_temperatures_are_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="expected a number above 0"):
        KD(temperature=temperature)


def test_a_regression_head_is_refused() -> None:
    nothing = Probe(torch.nn.Identity())
    with pytest.raises(ValueError, match="'size' is a regression head"):
        KD().prepare(nothing, nothing, Head("size", "regression", 1))
