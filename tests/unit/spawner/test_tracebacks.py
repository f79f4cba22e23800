from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

import pytest

from dockerspawner._errors.masking import excerpt
from dockerspawner._errors.tracebacks import condensed
from support.growth import LINEAR, growth


def raised(fail: Any) -> str:
    try:
        fail()
    except Exception:
        return traceback.format_exc().rstrip()
    raise AssertionError("nothing was raised")


def simple() -> None:
    {}["missing key"]


def caused() -> None:
    try:
        simple()
    except KeyError as error:
        raise RuntimeError("could not start") from error


def handled() -> None:
    try:
        caused()
    except RuntimeError:
        int("x")


def indented(text: str, by: str) -> str:
    return "\n".join(by + line for line in text.split("\n"))


CASES = [
    (simple, "KeyError: 'missing key'"),
    (caused, "RuntimeError: could not start"),
    (handled, "ValueError: invalid literal for int() with base 10: 'x'"),
    (lambda: exec("x = ("), "SyntaxError: '(' was never closed"),
]
LINE = "[E 2026-11-30 16:01:28.347 JupyterHubSingleUser] "


@pytest.mark.parametrize(("fail", "end"), CASES, ids=["simple", "caused", "handled", "syntax"])
@pytest.mark.parametrize("by", ["", "    ", LINE])
def test_condensed_a_traceback_is_its_last_line(fail: Any, end: str, by: str) -> None:
    text = raised(fail)
    assert condensed(f"before\n{indented(text, by)}\nafter") == f"before\n{by}{end}\nafter"
    # Only the first line has the logger's prefix.
    assert condensed(f"before\n{LINE}{text}\nafter") == f"before\n{end}\nafter"


@pytest.mark.parametrize(("fail", "end"), CASES, ids=["simple", "caused", "handled", "syntax"])
def test_condensed_a_traceback_that_begins_before_the_text(fail: Any, end: str) -> None:
    lines = raised(fail).split("\n")
    for begin in range(1, len(lines)):
        short = condensed("\n".join([*lines[begin:], "after"]))
        assert short.endswith(f"{end}\nafter")
        # Of an earlier exception in the chain: its own line, and code that can't be identified as part of a frame.
        assert len(short.split("\n")) <= 4, short
        assert "File" not in short


def test_condensed_a_traceback_that_ends_after_the_text_is_left_out() -> None:
    lines = raised(caused).split("\n")
    assert condensed("\n".join(["before", *lines[:3]])) == "before"
    # Otherwise the result would be empty.
    assert condensed("\n".join(lines[:3])) == "\n".join(lines[:3])


def test_condensed_what_is_no_traceback_stays() -> None:
    text = "one\n  indented\n    more\n\n[I 2026 App] two\n  ^ here\nKeyError: x\n"
    assert condensed(text) == text
    assert condensed("") == ""


def test_condensed_each_of_several_tracebacks_has_its_line() -> None:
    text = f"{LINE}first\n{raised(simple)}\n{LINE}second\n{raised(caused)}"
    assert condensed(text) == f"{LINE}first\nKeyError: 'missing key'\n{LINE}second\nRuntimeError: could not start"


def test_condensed_what_asyncio_logs(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def fails() -> None:
            simple()

        task = asyncio.ensure_future(fails())
        await asyncio.sleep(0)
        del task

    asyncio.run(main())
    (record,) = caplog.records
    # A handler that another test has added may have kept its own text of the exception in the record.
    record.exc_text = None
    said = logging.Formatter("%(levelname)s:%(name)s:%(message)s").format(record)
    short = condensed(said).split("\n")
    assert short[0] == "ERROR:asyncio:Task exception was never retrieved"
    assert short[-1] == "KeyError: 'missing key'"
    assert len(short) == 3


def test_condensed_a_group_of_exceptions_has_a_line_for_each() -> None:
    text = """before
  + Exception Group Traceback (most recent call last):
  |   File "x.py", line 14, in <module>
  |     raise ExceptionGroup("two", errors)
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "x.py", line 7, in <module>
    |     int("x")
    |     ~~~^^^^^
    | ValueError: invalid literal
    +---------------- 2 ----------------
    | Traceback (most recent call last):
    |   File "x.py", line 9, in <module>
    |     1 / 0
    | ZeroDivisionError: division by zero
    +------------------------------------
after"""
    assert condensed(text).split("\n") == [
        "before",
        "ExceptionGroup: two (2 sub-exceptions)",
        "ValueError: invalid literal",
        "ZeroDivisionError: division by zero",
        "after",
    ]


@pytest.mark.parametrize(
    "unit",
    ["Traceback (most recent call last):\n", '  File "x", line 1\n', "  ^^^^\n", "  | a: b\n", "[x] ", "^ ", "~", "| "],
)
def test_condensed_costs_no_more_than_the_length(unit: str) -> None:
    assert growth(condensed, unit) < LINEAR


def test_excerpt_of_a_long_traceback_has_what_came_before_it() -> None:
    text = f"what came before\n{LINE}oops\n{indented(raised(handled), '    ')}\nlast"
    assert excerpt(text, condense=True, lines=5).split("\n") == [
        "what came before",
        f"{LINE}oops",
        "    ValueError: invalid literal for int() with base 10: 'x'",
        "last",
    ]
