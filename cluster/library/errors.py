"""What is said of a library that cannot be read."""

from __future__ import annotations

from cluster.library.streams import without_login
from teacher.errors import UsageError


class LibraryError(UsageError):
    """A library, or a file of it, cannot be read; the message says which, why, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(without_login(message))


class ColumnError(LibraryError):
    """No column of a table, or more than one, may be that with the SMILES.

    Attributes:
        path: of the table.
        columns: that it has, as a message lists them.
    """

    def __init__(self, path: str, columns: str, message: str) -> None:
        super().__init__(message)
        self.path, self.columns = without_login(path), columns
