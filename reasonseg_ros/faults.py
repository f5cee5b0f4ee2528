"""What ended a command, as one line: the value, the reason and the remedy. A log file if the program is at fault."""

from __future__ import annotations

import errno
import os
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.plain_text import one_line

_FREE_SPACE = "free space there, or choose another place"
_REMEDIES = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EACCES: "change its permissions, or choose another place",
    errno.EPERM: "change its permissions, or choose another place",
    errno.EROFS: "choose another place",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file; choose another path",
    errno.ELOOP: "it is a symbolic link; remove it, or choose another place",
    errno.EISDIR: "that is a folder; name a file",
    errno.EEXIST: "choose another path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.EIO: "check the disk",
    errno.EFBIG: "a limit (`ulimit -f`) or the file system allows no larger file; choose another place",
}


def error_line(error: BaseException) -> str:
    """One line about an error that ends a command.

    Known errors say their own words. An OSError gets its path and a remedy. Anything else is a fault of the program:
    its traceback goes to a log file, which the line names.
    """
    if isinstance(error, ReasonSegError):
        text = str(error)
    elif isinstance(error, OSError):
        text = _os_error(error)
    elif isinstance(error, MemoryError):
        text = "out of memory; use smaller images, fewer at once, or a machine with more memory"
    else:
        text = f"{type(error).__name__}: {error}; this is a fault of the program; {_log(error)}"
    remedy = getattr(error, "remedy", "")
    return one_line(f"{text}; {remedy}" if remedy else text)


def remedy_of(error: OSError) -> str:
    """What can be done about an error of the file system."""
    return _REMEDIES.get(error.errno or 0, "check the path and the disk")


def reason(error: BaseException) -> str:
    """Why one of many things failed, in one line, without a log: the rest goes on."""
    if isinstance(error, ReasonSegError):
        return one_line(str(error))
    if isinstance(error, OSError):
        return one_line(_os_error(error))
    return one_line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _os_error(error: OSError) -> str:
    named = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
    return f"{named}{error.strerror or error}; {remedy_of(error)}"


def _log(error: BaseException) -> str:
    """Where the traceback was written. The name is new, so that no planted link is followed."""
    try:
        number, path = tempfile.mkstemp(prefix="reasonseg-", suffix=".log")
        with os.fdopen(number, "w", encoding="utf-8", errors="replace") as file:
            file.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    except OSError as failure:
        return f"its log could not be written ({failure.strerror}); please report it"
    return f"please report it with {path}"


def add_remedy(error: BaseException, remedy: str) -> None:
    """Append what the user can do to an error, without another error around it."""
    error.remedy = remedy  # type: ignore[attr-defined]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError inside the path that it is about; those of write, flush and fsync know none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
