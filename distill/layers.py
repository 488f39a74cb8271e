"""Which layers of a network a feature method compares, where the user names none."""

import difflib

from distillbench.distill.method import Probe


def last_map(probe: Probe, path: str | None = None) -> tuple[str, tuple[int, ...]]:
    """Return the path and output shape (N, C, H, W) of a feature map.

    Args:
        probe: The network and the shapes it showed.
        path: The layer; where it is None, the last one that gives a map of more than one position,
            which is the last block before pooling.

    Raises:
        ValueError: There is no such layer, or its output is not a feature map.
    """
    maps = {name: call.output for name, call in probe.calls.items() if _is_map(call.output)}
    if path is None:
        if not maps:
            raise ValueError(
                f"{type(probe.model).__name__} has no layer that gives a feature map (N, C, H, W); "
                "a feature method needs one: use a response method, or another model"
            )
        path = list(maps)[-1]
        return path, maps[path]
    if path in maps:
        return path, maps[path]
    if path in probe.calls:
        shape = probe.calls[path].output
        raise ValueError(
            f"layer '{path}' gives the shape {shape}; expected a feature map (N, C, H, W), "
            f"as {', '.join(list(maps)[-8:]) or 'no layer of this model'} give"
        )
    close = difflib.get_close_matches(path, maps, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise ValueError(f"there is no layer '{path}'; {hint}feature maps: {', '.join(maps)}")


def _is_map(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[2] * shape[3] > 1
