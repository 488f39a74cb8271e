"""The measuring phase: what each model costs, alone on the machine, after all training."""

from pathlib import Path

import torch

from distillbench.bench.build import build_model
from distillbench.bench.cell import now
from distillbench.bench.plan import Plan
from distillbench.bench.records import Cost, Latency
from distillbench.bench.suite import ModelSpec
from distillbench.distill.checkpoint import load_weights
from distillbench.distill.network import Network
from distillbench.metrics import (
    LatencyConfig,
    count_macs,
    count_params,
    describe_machine,
    measure_latency,
    weight_file_bytes,
)


def measure_cost(spec: ModelSpec, plan: Plan, directory: Path) -> Cost:
    """Measure one model as it ships: trained weights, eval mode."""
    network = _trained(spec, plan, directory)
    module, started = network.module, now()
    example = network.select(plan.task.example(1))
    macs = count_macs(module, example)
    return Cost(
        model=spec.name,
        key=plan.costs[spec.name],
        parameters=count_params(module).total,
        macs=macs.macs,
        macs_exact=macs.exact,
        macs_unaccounted=macs.unaccounted,
        weight_file_bytes=weight_file_bytes(module),
        latency=tuple(_latency(network, plan, size) for size in plan.suite.measure.batch_sizes),
        machine=describe_machine(),
        started=started,
    )


def _latency(network: Network, plan: Plan, batch_size: int) -> Latency:
    measure = plan.suite.measure
    threads = torch.get_num_threads()
    config = LatencyConfig(threads=threads, max_seconds=measure.max_seconds)
    inputs = network.select(plan.task.example(batch_size))
    report = measure_latency(network.module, inputs, config)
    return Latency(
        device=plan.task.train.device.type,
        batch_size=batch_size,
        threads=threads,
        samples_ms=tuple(sample for window in report.windows_ms for sample in window),
    )


def _trained(spec: ModelSpec, plan: Plan, directory: Path) -> Network:
    """Build a model with the weights of its first finished cell; with its initial ones if none."""
    network = build_model(spec, plan.task, plan.suite.seeds[0])
    files = (directory / job.cell.weights_file for job in plan.jobs if job.model.name == spec.name)
    finished = next((file for file in files if file.exists()), None)
    if finished is not None:
        load_weights(network.module, finished)
    network.module.eval()
    return network
