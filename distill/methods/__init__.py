"""The methods, one per file.

`METHODS` is the one list of them: name to `module:class`, so that names can be checked and listed
without importing torch.
"""

METHODS: dict[str, str] = {
    "none": "distillbench.distill.methods.none:Alone",
    "kd": "distillbench.distill.methods.kd:KD",
    "interpolate": "distillbench.distill.methods.interpolate:Interpolate",
    "fitnet": "distillbench.distill.methods.fitnet:FitNet",
}
