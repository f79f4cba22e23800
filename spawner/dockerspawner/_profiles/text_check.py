"""Matching of a user's text against an operator's regular expression, in a separate process.

A regular expression such as (a+)+ takes hours for thirty characters. Python can't interrupt the match, and no other
thread runs meanwhile. Only a separate process can be killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary

# Limits per text, in seconds: CPU time, and wall-clock time on a busy machine.
SECONDS, LATEST = 1, 30
# Concurrent checks, each for another user: one user can send many texts.
_AT_ONCE = 4

_MATCH, _NO_MATCH = 0, 3
# The process limits its own CPU time, so that it ends even if the hub is killed.
_PROGRAM = f"""
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))
regex, text = json.load(sys.stdin)
sys.exit({_MATCH} if re.fullmatch(regex, text) else {_NO_MATCH})
"""
# Variables that an interpreter may need to find its libraries. The process gets no others.
_ENVIRONMENT = ("LD_LIBRARY_PATH", "PYTHONHOME")

_threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="textcheck")
_turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


class TooSlow(Exception):
    """The match exceeded its time limit."""


async def matches(regex: str, text: str, user: str) -> bool:
    """Does `regex` match the whole `text`? TooSlow after a second; OSError if the process can't run."""
    async with _turns.setdefault(user, asyncio.Lock()):
        return await asyncio.get_running_loop().run_in_executor(_threads, _matches, regex, text)


def _matches(regex: str, text: str) -> bool:
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            input=json.dumps([regex, text]).encode(),
            capture_output=True,
            env=environment,
            timeout=LATEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TooSlow from None
    if done.returncode < 0:
        raise TooSlow
    if done.returncode not in (_MATCH, _NO_MATCH):
        said = done.stderr.decode(errors="replace")
        raise OSError(f"{sys.executable} ended with exit code {done.returncode}: {said}")
    return done.returncode == _MATCH
