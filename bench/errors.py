"""Exit codes, and the errors that carry them to the command line."""

from enum import IntEnum


class Exit(IntEnum):
    """What the command's exit status means."""

    DONE = 0
    BUG = 1
    CONFIG = 2
    CELLS_FAILED = 3
    REGRESSION = 4
    STORAGE = 5
    INTERRUPTED = 130


class ConfigError(ValueError):
    """The user's suite, options or data do not fit; the message says what to do."""
