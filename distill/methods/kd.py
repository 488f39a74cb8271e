"""Knowledge distillation from softened class probabilities."""

import torch.nn.functional as F
from torch import Tensor

from distillbench.distill.method import Batch, Head, Method, Output, Probe


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return T²·KL(p_teacher ‖ p_student) at temperature T, summed over classes, mean over N.

    The factor T² keeps the gradient's size independent of T (Hinton et al. 2015, section 2).

    Args:
        student_logits: (N, C).
        teacher_logits: (N, C).
        temperature: T, above 0.
    """
    student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2


class KD(Method):
    """Match the teacher's softened class probabilities.

    The loss is 0.1·CE + 0.9·T²·KL by default, with T = 4: the weights of the standard CIFAR-100
    comparisons (RepDistiller, mdistiller), which the published tables use.

    Args:
        temperature: T, above 0.
    """

    family = "response"
    year = 2015
    paper = "Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network. NIPS workshop"
    default_weights = {"ce": 0.1, "kd": 0.9}

    def __init__(self, *, temperature: float = 4.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; expected a number above 0")
        self.temperature = temperature

    def prepare(self, student: Probe, teacher: Probe, head: Head) -> None:
        """Check that there are class probabilities to match.

        Raises:
            ValueError: The head is a regression head.
        """
        if head.kind != "classification":
            raise ValueError(
                f"head '{head.name}' is a {head.kind} head; kd matches class probabilities"
            )

    def loss(self, student: Output, teacher: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the divergence as `kd`."""
        return {"kd": kd_loss(student.logits, teacher.logits, self.temperature)}
