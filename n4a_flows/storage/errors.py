"""Every error that is raised on purpose.

Each is an `N4AError` and also the builtin that fits, so callers may catch either.
"""

from __future__ import annotations


class N4AError(Exception):
    """Base of every error that n4a_flows raises on purpose."""

    def __str__(self) -> str:
        # KeyError would show the repr of its message, OSError a tuple.
        return str(self.args[0]) if self.args else type(self).__name__


class StoreClosedError(N4AError, RuntimeError):
    """A verb was called on a store that has been closed."""


class MissingStoreError(N4AError, RuntimeError):
    """Something was asked of an object that was made without a store."""


class StoreBusyError(N4AError, TimeoutError):
    """The store stayed held by somebody else until the deadline."""


class TransactionError(N4AError, RuntimeError):
    """A unit of work cannot go on: an earlier error doomed it, it is over or another thread's, or a verb cannot be part of one."""


class SchemaError(N4AError, RuntimeError):
    """The database has a layout that this version cannot work with."""


class UnsupportedPlatformError(N4AError, OSError):
    """The operating system or file system cannot hold a workspace safely."""


class WorkspaceError(N4AError, OSError):
    """The workspace folder cannot be created, read or written."""


class UnknownIdError(N4AError, KeyError):
    """An id (or alias) names nothing in this workspace."""


class ProtectedError(N4AError, ValueError):
    """What was to be deleted is still needed by an alias."""


class PlanOutdatedError(N4AError, RuntimeError):
    """Something that a plan would delete has come to be needed since it was made."""


class InvalidInputError(N4AError, ValueError):
    """An argument has a value that cannot be taken."""


class MissingFileError(N4AError, FileNotFoundError):
    """A file that the caller named does not exist."""


class PlaceError(N4AError, OSError):
    """A place that a URL names cannot be reached, or cannot do what was asked of it."""


class ArtifactMissingError(N4AError, FileNotFoundError):
    """The file of a recorded artifact is not on disk."""


class ArtifactCorruptError(N4AError, ValueError):
    """The bytes of an artifact are not those that were recorded."""


class ArtifactLoadError(N4AError, RuntimeError):
    """The bytes of an artifact are as recorded, but the packages to load them are not here."""


class UntrustedError(N4AError, ValueError):
    """Loading would run code that the operator has not allowed."""


class ReplayError(N4AError, RuntimeError):
    """A chain cannot be replayed as it was recorded."""


class TraceError(N4AError, RuntimeError):
    """A trace is recorded out of order, or does not hold the chain that is asked of it."""


class AxisError(N4AError, ValueError):
    """Spectra do not lie on the axis that a chain was trained on."""


class SpectraError(N4AError, ValueError):
    """A spectra file cannot be read as spectra."""


class FileChangedError(SpectraError):
    """A spectra file changed while it was read, or since it was listed: what was read may be half of each."""


class WorkerError(N4AError, RuntimeError):
    """A worker cannot do what the flow's own process would do: its packages differ, it does not see the files, or it died."""


class QuarantineError(N4AError, RuntimeError):
    """More of the new files could not be scored than the caller allows."""


class BatchNotReleasedError(N4AError, RuntimeError):
    """A check sample was predicted wrongly or is missing, so the batch must not be used."""


class DefinitionError(N4AError, ValueError):
    """A pipeline definition is wrong; the message names the step."""


class BundleError(N4AError, ValueError):
    """A bundle is damaged, foreign or unsafe."""


class TemplateError(N4AError, ValueError):
    """A template file is damaged, or is no file of the library's own."""


class TemplateExistsError(N4AError, FileExistsError):
    """The library holds a template of that name already."""
