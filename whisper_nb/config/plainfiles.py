"""Regular files: read without waiting for a pipe or a device, and replaced as a whole."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path


def read_plain(path: Path, limit: int) -> bytes:
    """Return the content of a file; of a file larger than the limit, one byte more than that.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is a folder, a pipe or a device.
    """
    # Without O_NONBLOCK, opening a pipe would wait for its writer, and reading /proc/kmsg for the kernel.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit + 1) or b""


def replace_plain(path: Path, text: str, mode: int = 0o666) -> None:
    """Write a file, in place of one of this name. What fails, such as a full disk, leaves the earlier one as it was.

    No link is followed: not one in place of the file, nor one in place of its folder. The permissions of an earlier
    file are kept.

    Args:
        path: the file. Its folder exists.
        text: the content.
        mode: the permissions of a new file, less the umask.

    Raises:
        OSError: the file cannot be written.
    """
    name = f".{path.name}.{secrets.token_hex(8)}"
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, mode, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                with suppress(FileNotFoundError):
                    earlier = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
                    if stat.S_ISREG(earlier.st_mode):
                        os.fchmod(descriptor, stat.S_IMODE(earlier.st_mode))
                file.write(text)
                file.flush()
                os.fsync(descriptor)  # else a crash might leave an empty file
            os.replace(name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise
    finally:
        os.close(folder)
