"""Measures chosen in a suite, kept predictions, and measures that are added later."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.bench.conftest import WriteSuite, run_suite

from distillbench.bench.add_measures import add_measures
from distillbench.bench.errors import ConfigError
from distillbench.bench.evaluate import rate
from distillbench.bench.measures import GROUPS, MEASURES, chosen
from distillbench.bench.predictions import load_predictions, save_predictions
from distillbench.bench.records import Run, load_run
from distillbench.bench.suite_file import load_suite
from distillbench.distill.method import Head
from distillbench.distill.teacher import Predictions


def predicted(logits: torch.Tensor, target: torch.Tensor) -> Predictions:
    return Predictions({"label": logits}, {}, {"label": target})


def test_groups_hold_each_other() -> None:
    held = [set(chosen([group])) for group in GROUPS]
    assert held[0] < held[1] < held[2] == set(MEASURES)
    assert chosen(["nll", "top1"]) == ["top1", "nll"]
    with pytest.raises(ConfigError, match="unknown metric 'tpo1'; did you mean 'top1'"):
        chosen(["tpo1"])


def test_a_suite_chooses(write_suite: WriteSuite, tmp_path: Path) -> None:
    outcome = run_suite(write_suite(metrics=["nll"], predictions="float32"), tmp_path / "run")
    record = outcome.run.records["small-kd-s0"]
    for split in ("train", "validation", "test"):
        assert set(record.quality[split]["label"]) == {"nll"}
    with pytest.raises(ConfigError, match=r"tiny\.yaml:\d+: metrics: unknown metric 'nl'"):
        load_suite(str(write_suite(metrics=["nl"])))


def test_measures_are_added_without_a_model(write_suite: WriteSuite, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    whole = run_suite(write_suite(metrics=["full"], predictions="float32"), tmp_path / "whole").run
    run = run_suite(write_suite(metrics=["nll"], predictions="float32"), folder).run
    before = {path: path.read_bytes() for path in (folder / "records").iterdir()}
    for weights in (folder / "weights").iterdir():
        weights.unlink()
    assert add_measures(folder, ["full"]) == len(run.records)
    assert add_measures(folder, ["full"]) == 0
    assert before == {path: path.read_bytes() for path in (folder / "records").iterdir()}
    later = load_run(folder)
    for cell in run.manifest.cells:
        for split in ("validation", "test"):
            wanted = whole.quality(cell)[split]["label"]
            assert later.quality(cell)[split]["label"] == pytest.approx(wanted, rel=1e-6)


def test_changed_metrics_train_nothing(write_suite: WriteSuite, tmp_path: Path) -> None:
    run_suite(write_suite(metrics=["nll"]), tmp_path / "run")
    again = run_suite(write_suite(metrics=["quick"]), tmp_path / "run")
    assert again.trained == 0
    kd = again.run.manifest.cells[-1]
    assert {"nll", "top1", "agreement"} <= set(again.run.quality(kd)["test"]["label"])


def test_half_precision_is_near(write_suite: WriteSuite, tmp_path: Path) -> None:
    run = run_suite(write_suite(metrics=["nll"]), tmp_path / "run").run
    cell = run.manifest.cells[-1]
    path, targets = (run.directory / name for name in (cell.predictions_file, run.manifest.targets))
    kept = load_predictions(path, targets)
    record = run.quality(cell)["test"]["label"]["nll"]
    head = run.manifest.heads[0]
    found = rate(kept, kept, [Head(head.name, head.kind, head.classes)], ["nll"])
    assert found.values["test"]["label"]["nll"] == pytest.approx(record, abs=1e-3)
    assert path.stat().st_size < 2 * (197 + 600) * 10 + 2000


def test_logits_that_half_precision_cannot_hold(tmp_path: Path) -> None:
    logits, target = torch.tensor([[1e6, 0.5]]), torch.tensor([0])
    own = {split: predicted(logits, target) for split in ("validation", "test")}
    save_predictions(own, tmp_path / "own", "float16")
    assert torch.equal(load_file(tmp_path / "own")["test.label"], logits)


def test_predictions_that_are_gone_or_damaged(write_suite: WriteSuite, tmp_path: Path) -> None:
    run: Run = run_suite(write_suite(metrics=["nll"]), tmp_path / "run").run
    path = run.directory / run.manifest.cells[-1].predictions_file
    path.write_bytes(b"not predictions")
    with pytest.raises(ConfigError, match=r"holds no predictions: .* move the file aside"):
        add_measures(run.directory, ["top1"])
    path.unlink()
    with pytest.raises(ConfigError, match=r"there are no predictions .*run the suite again"):
        add_measures(run.directory, ["top1"])
    again = run_suite(write_suite(metrics=["nll"]), tmp_path / "run")
    assert again.trained == 1


def test_an_undefined_measure_has_a_reason() -> None:
    value = torch.zeros(3, 1)
    own = {split: predicted(value, value) for split in ("validation", "test")}
    found = rate(own, own, [Head("label", "regression", 1)], ["r2", "mae"])
    assert found.values["test"]["label"] == {"r2": None, "mae": 0.0}
    assert "target column 0 is 0.0 in all 3 rows" in found.undefined["test.label.r2"]
