"""Files of the engine cache: written atomically, and only accepted if they belong to this user.

TensorRT trusts the engines that it loads, so whoever can write one can run code in this process.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from reasonseg_ros.errors import ConfigError

_REMEDY = "remove it, or set XDG_CACHE_HOME (or --cache) to a folder of your own"


def replace_file(path: Path, content: bytes) -> None:
    """Write `path` atomically, through a file next to it. A symbolic link at `path` is replaced, not followed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def private_folder(folder: Path) -> Path:
    """`folder`, created if it is missing, with access for its user only (0700).

    Raises ConfigError if it is a symbolic link, belongs to another user, is writable by others, or cannot be created.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise ConfigError(f"the engine cache {folder} is a symbolic link, which is not followed; {_REMEDY}")
        if status.st_uid != os.geteuid():
            raise ConfigError(f"the engine cache {folder} belongs to user {status.st_uid}; {_REMEDY}")
        if status.st_mode & 0o022:
            raise ConfigError(f"the engine cache {folder} can be written by others; {_REMEDY}")
        if stat.S_IMODE(status.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"the engine cache {folder} cannot be used: {error}; {_REMEDY}") from error
    return folder


def read_private(path: Path) -> bytes:
    """Content of a regular file of this user. Raises OSError for symbolic links and files that others can write."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(f"{path} is no file that only this user can write")
        return file.read()
