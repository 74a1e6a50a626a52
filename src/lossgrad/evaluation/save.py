"""Files read and written as a whole, so that no reader ever sees half of one.

What is read is a regular file: a pipe or a device may never end.
"""

import errno
import os
import stat
import tempfile
from pathlib import Path

from lossgrad.evaluation.problems import FileError


def read_whole(path: str | os.PathLike[str], start: bytes = b"") -> bytes:
    """The content of a regular file; of one that does not start as it should, no more than that.

    Raises
    ------
    FileError
        It is none, or cannot be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            directory = os.path.isdir(path)
            raise FileError(path, "is a directory" if directory else "is not a regular file")
        with open(path, "rb") as file:
            content = file.read(len(start))
            return content + file.read() if content == start else content
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be read: {reason(error)}") from None


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, or leave what was there and the mode it had.

    A link stays one, and so do pipes and devices, which take the content as it comes.

    Raises
    ------
    FileError
        It cannot be written.
    """
    try:
        if _is_stream(path):
            Path(path).write_bytes(content)
            return
        to = os.path.realpath(path)
        number, part = tempfile.mkstemp(".part", ".lossgrad-", os.path.dirname(to))
        try:
            with open(number, "wb") as file:
                file.write(content)
            os.chmod(part, _mode(to))
            os.replace(part, to)
        except BaseException:
            os.unlink(part)
            raise
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be written: {reason(error)}") from None


def _is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether it is a pipe or a character device: a terminal, /dev/stdout."""
    if not os.path.exists(path):
        return False
    mode = os.stat(path).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _mode(path: str) -> int:
    """The permissions of a file, or those that a new one gets."""
    if os.path.exists(path):
        return stat.S_IMODE(os.stat(path).st_mode)
    mask = os.umask(0o077)  # which cannot be asked without being set, for all threads
    os.umask(mask)
    return 0o666 & ~mask


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise at once what `write_whole` would raise after long work, as far as it can be known."""
    try:
        to = Path(os.path.realpath(path))
        if to.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _is_stream(path):
            return
        if to.exists() and not to.is_file():
            raise FileError(path, "is neither a regular file nor a pipe")
        if not os.access(to.parent.resolve(strict=True), os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be written: {reason(error)}") from None


def reason(error: Exception) -> str:
    """The system's words for an error."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
