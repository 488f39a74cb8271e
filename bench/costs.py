"""The measuring phase: what each model costs, alone on the machine, after all training."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from distillbench.bench.build import build_model
from distillbench.bench.cell import now
from distillbench.bench.plan import Plan
from distillbench.bench.records import Cost, Latency
from distillbench.bench.suite import ModelSpec
from distillbench.distill.checkpoint import load_weights
from distillbench.distill.network import Network
from distillbench.metrics import (
    LatencyConfig,
    compare_latency,
    count_macs,
    count_params,
    describe_machine,
    weight_file_bytes,
)

SAMPLES = 200
"""Timed passes of each model, time permitting: enough for the 95th percentile."""


def measure_costs(plan: Plan, directory: Path) -> tuple[Cost, ...]:
    """Measure every model as it ships: trained weights, eval mode.

    Latency is timed in turn, so that the machine's slower and faster phases meet all models alike.
    """
    networks = {spec.name: _trained(spec, plan, directory) for spec in plan.models}
    started, machine = now(), describe_machine()
    latency = [_latency(networks, plan, size) for size in plan.suite.measure.batch_sizes]
    costs = []
    for name, network in networks.items():
        macs = count_macs(network.module, network.select(plan.task.example(1)))
        costs.append(
            Cost(
                model=name,
                key=plan.costs[name],
                parameters=count_params(network.module).total,
                macs=macs.macs,
                macs_exact=macs.exact,
                macs_unaccounted=macs.unaccounted,
                weight_file_bytes=weight_file_bytes(network.module),
                latency=tuple(at_size[name] for at_size in latency),
                machine=machine,
                started=started,
            )
        )
    return tuple(costs)


def _latency(networks: Mapping[str, Network], plan: Plan, batch_size: int) -> dict[str, Latency]:
    """Time all models at one batch size, interleaved."""
    threads, device = torch.get_num_threads(), plan.task.train.device.type
    example = plan.task.example(batch_size)
    comparison = compare_latency(
        {name: network.module for name, network in networks.items()},
        example if isinstance(example, Tensor) else dict(example),
        LatencyConfig(
            threads=threads,
            min_pairs=SAMPLES,
            max_seconds=plan.suite.measure.max_seconds * len(networks),
        ),
        inputs_by_model={name: network.select(example) for name, network in networks.items()},
    )
    return {
        name: Latency(
            device=device,
            batch_size=batch_size,
            threads=threads,
            samples_ms=comparison.models[name].times_ms,
        )
        for name in networks
    }


def _trained(spec: ModelSpec, plan: Plan, directory: Path) -> Network:
    """Build a model with the weights of its first finished cell; with its initial ones if none."""
    network = build_model(spec, plan.task, plan.suite.seeds[0])
    files = (directory / job.cell.weights_file for job in plan.jobs if job.model.name == spec.name)
    finished = next((file for file in files if file.exists()), None)
    if finished is not None:
        load_weights(network.module, finished)
    network.module.eval()
    return network
