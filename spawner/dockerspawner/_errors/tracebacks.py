"""Reduction of Python tracebacks in a log to their last lines, in time linear in the length of the text."""

from __future__ import annotations

import re

_HEADER = "Traceback (most recent call last):"
_CHAINED = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
# A logger's prefix of a line, as in "[E 2026-11-30 16:01:28.347 ServerApp] ".
_PREFIX = re.compile(r"\[[^\]]{1,100}\] ?")
_FRAME = re.compile(r'\s*File "[^"]*", line \d+')
# Markers below the failing code: ^^^^ and ~~~~. Omitted code: ...<6 lines>...
_MARKS = re.compile(r"[\^~][\^~ ]*|\.\.\.<\d+ lines>\.\.\.")
# Exceptions of a group form a tree of |, + and -.
_TREE = re.compile(r"\s*[|+][|+ -]* ?")


def condensed(text: str) -> str:
    """Keep only the last line of each traceback; for chained exceptions, only that of the last exception.

    The text may begin or end in the middle of a traceback. If the result would be empty, returns the text unmodified.
    """
    lines = text.split("\n")
    kept: list[str] = []
    # Position in `kept` of the last traceback's exception, while another exception may still be chained to it.
    last: int | None = None
    place = _within(lines)
    while place < len(lines):
        line = lines[place]
        if _HEADER in line:
            place, ends = _after_frames(lines, place)
            last = len(kept)
            kept += ends
        elif line.strip() in _CHAINED or _plain(line).strip() in _CHAINED:
            if last is not None:
                del kept[last:]
            while kept and not kept[-1].strip():
                kept.pop()
            place = _after_blanks(lines, place + 1)
        else:
            kept.append(line)
            place += 1
    return "\n".join(kept) if any(line.strip() for line in kept) else text


def _plain(line: str) -> str:
    """Remove the logger's prefix from a line."""
    prefix = _PREFIX.match(line)
    return line[prefix.end() :] if prefix else line


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _within(lines: list[str]) -> int:
    """Return the index after the frames at the beginning of the lines, 0 if they do not begin with frames."""
    place, indent, last = 0, 0, -1
    while place < len(lines) and _HEADER not in lines[place]:
        line = _plain(lines[place]).rstrip()
        if line and not _indent(line):
            break
        if _FRAME.match(line) or _MARKS.fullmatch(line.strip()):
            indent, last = _indent(line), place
        place += 1
    if last < 0:
        return 0
    # The last frame is followed by its code, and then by the exception, which has less indentation.
    return next((n for n in range(last + 1, place) if 0 < _indent(_plain(lines[n]).rstrip()) < indent), place)


def _after_blanks(lines: list[str], place: int) -> int:
    while place < len(lines) and not _plain(lines[place]).strip():
        place += 1
    return place


def _after_frames(lines: list[str], place: int) -> tuple[int, list[str]]:
    """Return the index after the traceback whose header is at `place`, and its last lines."""
    header = _plain(lines[place])
    before = header[: header.index(_HEADER)]
    place += 1
    if before.rstrip().endswith("Exception Group") or _TREE.fullmatch(before):
        return _after_group(lines, place)
    indent = len(before) if not before.strip() else 0
    while place < len(lines):
        line = _plain(lines[place]).rstrip()
        if line and _indent(line) <= indent:
            return place + 1, [lines[place]]
        place += 1
    return place, []


def _after_group(lines: list[str], place: int) -> tuple[int, list[str]]:
    ends: list[str] = []
    while place < len(lines) and (tree := _TREE.match(_plain(lines[place]))):
        inner = _plain(lines[place])[tree.end() :]
        is_end = re.match(r"[A-Za-z_][\w.]*(?::|$)", inner)
        # In the tree of a group, frames have more indentation than an exception.
        if is_end and not tree[0].endswith("   "):
            ends.append(inner)
        place += 1
    return place, ends
