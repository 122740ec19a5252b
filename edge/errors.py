"""Every error that Mien raises on purpose.

    MienError
    ├── ConfigError (ValueError)     a configuration file, option or URI that can't be used
    ├── BundleError (ValueError)     a model bundle that is missing, damaged or doesn't fit
    ├── DataError (ValueError)       a data set that can't be read or trained on
    ├── RuntimeMissing (ImportError) a library that this task needs isn't installed
    ├── SourceError (OSError)        a camera, stream, video or picture that gives no frames
    │   └── CameraLost               a camera that failed again and again; exit code 69
    ├── SinkError (OSError)          an output that can't be opened or written
    └── GateError (ValueError)       a converted model that fell short of its gate

Each message is one line that says what is wrong, where, and what to do; the command line prints it
after ``mien: error:`` and exits with its class's `exit_code`, 1 unless said otherwise.
"""


class MienError(Exception):
    """Base of all errors that Mien raises on purpose."""

    exit_code = 1
    """Of the command that it ends."""


class ConfigError(MienError, ValueError):
    """A configuration file, option or URI can't be used."""


class BundleError(MienError, ValueError):
    """A model bundle is missing, damaged, or doesn't fit the runtime."""


class DataError(MienError, ValueError):
    """A data set can't be read, or can't be trained or judged on."""


class RuntimeMissing(MienError, ImportError):
    """A library that this task needs isn't installed, or doesn't load."""


class SourceError(MienError, OSError):
    """A camera, stream, video or picture gives no frames."""


class CameraLost(SourceError):
    """A camera failed again and again, so that opening it once more is of no use."""

    exit_code = 69  # EX_UNAVAILABLE of sysexits.h, so that a service manager can tell it from other failures


class SinkError(MienError, OSError):
    """An output can't be opened or written."""


class GateError(MienError, ValueError):
    """A converted model fell short of the gate's figures."""
