"""Repeat each failed test once, alone. Exit with 0 if few tests failed and all of them pass now.

Only tests that use a real engine are repeated: they depend on the timing of other programs. If a repeated test passes,
it is printed as FLAKY. It shows a defect of the test or of the product: fix that defect.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

LAYERS = ("tests/docker/", "tests/e2e/", "tests/swarm/")
MOST_FLAKY = 3
# pytest writes this file if the run finished and tests failed.
FAILED = Path(".artifacts/failed")


def passes(test: str) -> bool:
    """Run one test in a separate process."""
    command = [sys.executable, "-m", "pytest", "--numprocesses=0", "--junit-xml=.artifacts/again.xml", test]
    return subprocess.run(command, check=False).returncode == 0


def second_chance(failed: Sequence[str], passes: Callable[[str], bool]) -> tuple[bool, str]:
    """Decide whether the whole run counts as passed, and why. `passes` runs one test by its id."""
    if not failed:
        return False, "No list of failed tests: the test run did not finish."
    if final := [test for test in failed if not test.startswith(LAYERS)]:
        return False, f"Failed and not repeated, because these tests use no engine:{_listed(final)}"
    if len(failed) > MOST_FLAKY:
        return False, f"{len(failed)} tests failed. CI repeats at most {MOST_FLAKY}:{_listed(failed)}"
    flaky = [test for test in failed if passes(test)]
    lines = [f"FLAKY ({len(flaky)}): passed when repeated:{_listed(flaky)}"] if flaky else []
    if broken := [test for test in failed if test not in flaky]:
        lines.append(f"Failed twice:{_listed(broken)}")
    return not broken, "\n".join(lines)


def _listed(tests: Sequence[str]) -> str:
    return "".join(f"\n  {test}" for test in tests)


def main() -> int:
    failed = FAILED.read_text().splitlines() if FAILED.exists() else []
    passed, reason = second_chance(failed, passes)
    print(reason, flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
