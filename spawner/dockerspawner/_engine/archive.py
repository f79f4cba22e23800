"""What the engine's archives say of files in a container, and archives to put files there."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping

# The first entry with the extensions that may come before it.
_HEADER = 4096
# More than /etc/passwd has anywhere.
_LARGEST_TEXT = 4 * 2**20


def first_entry(chunks: Iterable[bytes]) -> tarfile.TarInfo | None:
    """The entry that an archive begins with: the path itself that was asked for. No more of it is read."""
    with tarfile.open(fileobj=io.BytesIO(_beginning(chunks, _HEADER)), mode="r|") as tar:
        return tar.next()


def lone_entry(chunks: Iterable[bytes]) -> tarfile.TarInfo | None:
    """Return the first entry if the path has nothing below it, else None."""
    try:
        with tarfile.open(fileobj=io.BytesIO(_beginning(chunks, 2 * _HEADER)), mode="r:") as tar:
            entry = tar.next()
            return entry if tar.next() is None else None
    except tarfile.ReadError:
        # The archive is truncated.
        return None


def text_of(chunks: Iterable[bytes]) -> str:
    """The text of an archive's first file, empty where that is none."""
    with tarfile.open(fileobj=io.BytesIO(_beginning(chunks, _LARGEST_TEXT)), mode="r:") as tar:
        entry = tar.next()
        file = tar.extractfile(entry) if entry and entry.isfile() else None
        return file.read().decode(errors="replace") if file else ""


def _beginning(chunks: Iterable[bytes], size: int) -> bytes:
    found = b""
    iterator = iter(chunks)
    try:
        while len(found) < size and (chunk := next(iterator, b"")):
            found += chunk
    finally:
        # The rest is not fetched.
        if close := getattr(iterator, "close", None):
            close()
    return found


def packed(files: Mapping[str, bytes], uid: int, gid: int, mode: int) -> bytes:
    """An archive of files that have this owner and this mode."""
    packing = io.BytesIO()
    with tarfile.open(fileobj=packing, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, uid, gid
            tar.addfile(entry, io.BytesIO(content))
    return packing.getvalue()


def may_write(entry: tarfile.TarInfo, uid: int, gid: int) -> bool:
    """May a process of that uid and that gid, with no privileges, write there?"""
    if uid == 0:
        return True
    if entry.uid == uid:
        return bool(entry.mode & 0o200)
    return bool(entry.mode & (0o020 if entry.gid == gid else 0o002))
