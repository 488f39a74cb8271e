"""Seeds: each use of chance gets its own, derived by name, so that no use disturbs another."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *names: object) -> int:
    """Return the seed that belongs to a use of chance, such as `derive(0, "order")`."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


@contextmanager
def seeded(seed: int, *names: object) -> Iterator[None]:
    """Seed torch's global generators, and restore them afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, *names))
        yield
