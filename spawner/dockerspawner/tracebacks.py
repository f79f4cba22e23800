"""Python's tracebacks in a log, reduced to what they end with. Linear in the length of the text."""

from __future__ import annotations

import re

_HEADER = "Traceback (most recent call last):"
_CHAINED = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
# What a logger puts before a line, as in "[E 2026-11-30 16:01:28.347 ServerApp] ".
_PREFIX = re.compile(r"\[[^\]]{1,100}\] ?")
_FRAME = re.compile(r'\s*File "[^"]*", line \d+')
# Under the code that failed: ^^^^ and ~~~~. In place of code: ...<6 lines>...
_MARKS = re.compile(r"[\^~][\^~ ]*|\.\.\.<\d+ lines>\.\.\.")
# How exceptions of a group are drawn: a tree of |, + and -.
_TREE = re.compile(r"\s*[|+][|+ -]* ?")


def condensed(text: str) -> str:
    """`text` with the last line of each traceback only; of exceptions that caused each other, that of the last.

    The text may begin or end in the middle of a traceback. Where nothing would be left, it stays as it is.
    """
    lines = text.split("\n")
    kept: list[str] = []
    # Where the exception of the last traceback is in `kept`, as long as another one may have been caused by it.
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
    """A line without its logger's prefix."""
    prefix = _PREFIX.match(line)
    return line[prefix.end() :] if prefix else line


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _within(lines: list[str]) -> int:
    """The place where the frames of a traceback end with which the lines begin, 0 where they begin otherwise."""
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
    # What follows the last frame is its code, and then, with less room before it, the exception.
    return next((n for n in range(last + 1, place) if 0 < _indent(_plain(lines[n]).rstrip()) < indent), place)


def _after_blanks(lines: list[str], place: int) -> int:
    while place < len(lines) and not _plain(lines[place]).strip():
        place += 1
    return place


def _after_frames(lines: list[str], place: int) -> tuple[int, list[str]]:
    """The place after the traceback whose header is at `place`, and the lines with which it ends."""
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
        # Frames have more room than the tree itself leaves before an exception.
        if is_end and not tree[0].endswith("   "):
            ends.append(inner)
        place += 1
    return place, ends
