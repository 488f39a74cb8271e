"""The model zoo, one family per file.

`MODELS` is the one list of them: name to `module:callable`. A callable takes options by keyword;
where it has parameters called `num_classes`, `in_channels`, `input_shape` or `heads`, they are
filled in from the task.
"""

MODELS: dict[str, str] = {
    "cnn": "distillbench.bench.models.cnn:CNN",
    "mlp": "distillbench.bench.models.mlp:MLP",
}
