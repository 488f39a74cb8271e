"""What a shipped model costs."""

from typing import Any, Literal

from distillbench.bench.records.files import Data, file_name


class Latency(Data):
    """Latency of one model: raw samples of single forward passes, in milliseconds."""

    device: str
    batch_size: int
    threads: int
    dtype: str = "float32"
    samples_ms: tuple[float, ...]


class Cost(Data):
    """What one shipped model costs, measured alone on the machine.

    Attributes:
        model: What it is the cost of: a model's name in the suite, or `model-method` where the
            method ships more than the student.
        key: Hash over the model, its inputs and the measuring conditions.
        parameters: Of what ships; tied ones once.
        macs: Multiply-accumulates of one sample; 1 MAC = 2 FLOPs.
        macs_exact: Whether two independent counts agree and nothing is unaccounted.
        macs_unaccounted: Operations that ran and could not be counted, with their calls.
        weight_file_bytes: Size of the weights as safetensors.
        activation_peak_bytes: Most bytes of tensors that the forward pass of one sample made and
            that were alive at once.
        machine: The machine that it was measured on.
        warnings: What makes the figures doubtful, such as other work on the machine meanwhile.
    """

    schema_version: Literal[2] = 2
    model: str
    key: str
    parameters: int
    macs: int
    macs_exact: bool
    macs_unaccounted: dict[str, int]
    weight_file_bytes: int
    activation_peak_bytes: int
    latency: tuple[Latency, ...]
    machine: dict[str, Any]
    warnings: tuple[str, ...] = ()
    started: str

    @property
    def file(self) -> str:
        """The path below the run folder."""
        return file_name("costs", self.model, self.key, "json")
