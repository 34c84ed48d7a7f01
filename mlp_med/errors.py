"""What can go wrong by a user's data, machine or request: each says what to do about it.

The command line prints these without a traceback. Anything else that is raised is a defect of ours.
"""


class MlpMedError(Exception):
    """A problem that the user can mend; it says what was expected, what came, and where."""


class ImageError(MlpMedError):
    """A scan or patch on disk cannot be used as it is."""


class SourceError(MlpMedError):
    """A source directory lacks something, or its tables contradict its files."""


class DatasetError(MlpMedError):
    """A built dataset is missing, unfinished, or was built from another source."""


class TrainingError(MlpMedError):
    """A cell could not be trained; `kind` is the typed failure that the ledger keeps."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[type["TrainingError"], tuple[str, str]]:
        return type(self), (self.kind, str(self))  # it crosses process borders


class StreamingError(MlpMedError):
    """Stages of a network cannot be run tile by tile, or not on such an image."""


class LedgerError(MlpMedError):
    """The tracking store cannot be opened, read or written."""


class LedgerUnavailableError(LedgerError):
    """The tracking store does not answer or cannot write just now; later it may."""


class StudyError(MlpMedError):
    """A study was asked for that does not exist or cannot be run as asked."""


class EvidenceError(MlpMedError):
    """Predictions do not fit together, so that no comparison can be made from them."""


class CapacityError(MlpMedError):
    """A plan was asked for that no machine, budget or network can mean."""
