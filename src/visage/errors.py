"""The few error types a user can meet; each message is one line that names the thing, the fault and the remedy.

Entry points print these without a stack trace (exit code 2, or 3 for `Unfinished`); any other exception is a bug of
ours and keeps its trace.
"""


class VisageError(ValueError):
    """A mistake or a shortage on the user's side: the message says which file or field, what is wrong, what to do."""


class ConfigError(VisageError):
    """A parameter is unknown, of the wrong type, or cannot be honoured on this machine."""


class DataError(VisageError):
    """The data as a whole cannot be used (missing folder, too many bad files, a split left empty)."""


class BadImageError(VisageError):
    """One picture cannot be read; callers quarantine it and go on."""


class MissingWeightsError(VisageError):
    """Weights are neither on this machine nor downloadable; the message says which file goes where."""


class DoesNotFitError(VisageError):
    """The memory budget would be passed; the message says which setting would fit."""


class Unfinished(VisageError):
    """A time limit stopped the work after saving it; starting the same command again continues."""
