"""Records: what each cell yielded, as strict JSON files that are never rewritten.

A run folder holds `run.json` (the manifest: suite, cells, provenance), `records/` (one file per
cell), `costs/` (one file per distinct shipped model), `weights/` and the report. The names of
records and costs end in the key of what determined them, so that a changed suite never meets an
old result.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from distillbench.bench.errors import ConfigError

MANIFEST = "run.json"

Model = TypeVar("Model", bound=BaseModel)
Status = Literal["done", "failed", "diverged"]


def file_name(folder: str, name: str, key: str, suffix: str) -> str:
    """Return the path below the run folder of what a name and a key stand for."""
    return f"{folder}/{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}-{key[:8]}.{suffix}"


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cell(_Data):
    """One unit of work.

    Attributes:
        key: Hash over everything that determines the result.
        kind: `teacher`, or `student`.
        model: The model's name in the suite.
        method: The method's name in the suite; None for a teacher.
        seed: The seed, the same for every method of a pair.
    """

    key: str
    kind: Literal["teacher", "student"]
    model: str
    method: str | None
    seed: int

    @property
    def id(self) -> str:
        """A readable name, unique within a suite."""
        middle = f"-{self.method}" if self.method else ""
        return f"{self.model}{middle}-s{self.seed}"

    @property
    def file(self) -> str:
        """The record's path below the run folder."""
        return file_name("records", self.id, self.key, "json")

    @property
    def weights_file(self) -> str:
        """The path of the weights below the run folder."""
        return file_name("weights", self.id, self.key, "safetensors")


class Failure(_Data):
    """Why a cell did not finish."""

    kind: str
    message: str
    traceback: str


class Epoch(_Data):
    """One epoch: mean unweighted loss terms, validation score, seconds."""

    number: int
    losses: dict[str, float]
    score: float | None
    seconds: float


class Training(_Data):
    """How a model was trained.

    Attributes:
        select: The rule that chose the epoch, fixed in the suite.
        selected_epoch: The epoch, from 1, whose weights were kept.
        weights: Weight of each loss term.
        options: The method's options as the suite gives them.
        notes: What the method says of the pair, such as the coverage of a weight map.
        train_only_parameters: Trained parameters that do not ship.
        teacher_cache: Whether teacher outputs were cached, why not, and bytes; None if not run.
        history: Every epoch.
    """

    select: Literal["last", "best"]
    selected_epoch: int
    seconds: float
    weights: dict[str, float]
    options: dict[str, Any]
    notes: dict[str, Any]
    train_only_parameters: int
    teacher_cache: dict[str, Any] | None
    history: tuple[Epoch, ...]


class WeightsFile(_Data):
    """A weight file: its path below the run folder, and the digest of the state it holds."""

    file: str
    bytes: int
    digest: str


class Record(_Data):
    """What one cell yielded.

    Attributes:
        quality: Value by split (`train`, `test`), head and metric; None where it is undefined.
        started: UTC time, ISO 8601.
        seconds: Wall-clock seconds of the whole cell.
    """

    schema_version: Literal[1] = 1
    cell: Cell
    status: Status
    failure: Failure | None = None
    training: Training | None = None
    quality: dict[str, dict[str, dict[str, float | None]]] = {}
    weights: WeightsFile | None = None
    started: str
    seconds: float


class Latency(_Data):
    """Latency of one model: raw samples of single forward passes, in milliseconds."""

    device: str
    batch_size: int
    threads: int
    samples_ms: tuple[float, ...]


class Cost(_Data):
    """What one shipped model costs, measured alone on the machine.

    Attributes:
        model: The model's name in the suite.
        key: Hash over the model, its inputs and the measuring conditions.
        parameters: Of what ships; tied ones once.
        macs: Multiply-accumulates of one sample; 1 MAC = 2 FLOPs.
        macs_exact: Whether two independent counts agree and nothing is unaccounted.
        macs_unaccounted: Operations that ran and could not be counted, with their calls.
        weight_file_bytes: Size of the weights as safetensors.
        machine: The machine that it was measured on.
    """

    schema_version: Literal[1] = 1
    model: str
    key: str
    parameters: int
    macs: int
    macs_exact: bool
    macs_unaccounted: dict[str, int]
    weight_file_bytes: int
    latency: tuple[Latency, ...]
    machine: dict[str, Any]
    started: str

    @property
    def file(self) -> str:
        """The path below the run folder."""
        return file_name("costs", self.model, self.key, "json")


class HeadSummary(_Data):
    """One head of the task, without its training counts."""

    name: str
    kind: Literal["classification", "regression"]
    classes: int


class Manifest(_Data):
    """What a run folder is about; rewritten as a whole when the run starts again.

    Attributes:
        suite: The suite with all defaults filled in.
        heads: The task's heads.
        samples: Samples by split.
        cells: Every planned cell, the teacher first.
        costs: Path of the cost file below the run folder, by model name.
        command: The command line that made the run.
        environment: Versions, commit and machine.
    """

    schema_version: Literal[1] = 1
    name: str
    suite: dict[str, Any]
    heads: tuple[HeadSummary, ...]
    samples: dict[str, int]
    cells: tuple[Cell, ...]
    costs: dict[str, str]
    command: str
    environment: dict[str, Any]
    started: str


@dataclass(frozen=True)
class Run:
    """A run folder as read: the manifest, and the records and costs that it names, where present.

    Attributes:
        records: By cell id; a cell without a record has not run yet.
        costs: By model name.
    """

    directory: Path
    manifest: Manifest
    records: Mapping[str, Record]
    costs: Mapping[str, Cost]


def write_json(path: Path, data: BaseModel) -> None:
    """Write a file so that it is whole or absent: temporary file, fsync, rename.

    Raises:
        ValueError: A value is NaN or infinite, which strict JSON cannot hold.
        OSError: The file cannot be written; what stood there before still stands.
    """
    text = json.dumps(data.model_dump(), allow_nan=False, indent=1) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path, kind: type[Model]) -> Model | None:
    """Read a file that `write_json` wrote; None where there is none.

    Raises:
        ConfigError: The file does not hold what it should.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(
            f"{path} is no valid {kind.__name__.lower()}: {place}: {first['msg']}; "
            "move the file aside and run the suite again"
        ) from error


def load_run(directory: Path) -> Run:
    """Read a run folder.

    Raises:
        ConfigError: The folder holds no run, or a file in it is damaged.
    """
    manifest = read_json(directory / MANIFEST, Manifest)
    if manifest is None:
        raise ConfigError(
            f"{directory} holds no {MANIFEST}; expected a folder that `distillbench run` made"
        )
    records = {cell.id: read_json(directory / cell.file, Record) for cell in manifest.cells}
    costs = {name: read_json(directory / file, Cost) for name, file in manifest.costs.items()}
    return Run(
        directory,
        manifest,
        {name: record for name, record in records.items() if record is not None},
        {name: cost for name, cost in costs.items() if cost is not None},
    )
