"""Writing files whole: under another name first, so that no reader ever sees half a file."""

import errno
import os
from pathlib import Path

from lossgrad._problems import FileError


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, or leave what was there. A link stays one, and so do pipes and devices.

    Raises
    ------
    FileError
        It cannot be written.
    """
    path = Path(path)
    to = Path(os.path.realpath(path))
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            path.write_bytes(content)
            return
        try:
            part.write_bytes(content)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be written: {reason(error)}") from None


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise at once what `write_whole` would raise after long work, as far as it can be known."""
    try:
        to = Path(os.path.realpath(path))
        if to.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not to.exists() and not os.access(to.parent.resolve(strict=True), os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be written: {reason(error)}") from None


def reason(error: Exception) -> str:
    """The system's words for an error."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
