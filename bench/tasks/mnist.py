"""MNIST through torchvision: 28x28 grey images of handwritten digits."""

import socket
from pathlib import Path

from torch import Tensor
from torchvision.datasets import MNIST

from distillbench.bench.errors import ConfigError
from distillbench.bench.tasks.task import Task, tensor_task

DEFAULT_ROOT = Path("~/.cache/distillbench")
MEAN, DEVIATION = 0.1307, 0.3081
DOWNLOAD_TIMEOUT_S = 30.0
GET = "put the four IDX files of MNIST there, or name their folder with --data-root"


def mnist(*, data_root: Path | None = None, validation: float = 1 / 12) -> Task:
    """Return MNIST with 55,000 training, 5,000 validation and 10,000 test images.

    Args:
        data_root: The folder that holds `MNIST/raw`. Where that is missing, it is downloaded.
        validation: The share of the training images set aside for validation.

    Raises:
        ConfigError: The data is neither there nor to be had.
    """
    root = _find(data_root)
    try:
        train, test = (_pixels(MNIST(root, train=part)) for part in (True, False))
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"MNIST in {root / 'MNIST' / 'raw'} cannot be read: {error}; {GET}"
        ) from error
    return tensor_task("mnist", train, test, validation=validation)


def _pixels(split: MNIST) -> tuple[Tensor, Tensor]:
    images = split.data.unsqueeze(1).float().div_(255)
    return images.sub_(MEAN).div_(DEVIATION), split.targets


def _find(data_root: Path | None) -> Path:
    root = (data_root or DEFAULT_ROOT).expanduser()
    wanted = root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    if data_root is not None and not root.is_dir():
        raise ConfigError(f"the data folder {root} does not exist; looked for {wanted}: {GET}")
    if wanted.exists():
        return root
    made = [path for path in (root, root / "MNIST", root / "MNIST" / "raw") if not path.exists()]
    timeout = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
        MNIST(root, download=True)
    except (OSError, RuntimeError) as error:
        for path in reversed(made):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise ConfigError(
            f"MNIST is not in {root} and cannot be downloaded ({error}); looked for {wanted}: {GET}"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    return root
