"""Run the tests that have failed once more, alone. Exits 0 if all of them pass now and they are few.

Only tests that use a real engine get a second chance: they depend on the timing of other programs. A test that passes
at the second run is printed as FLAKY. It is a defect of the test or of the product, and has to be fixed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

LAYERS = ("tests/docker/", "tests/e2e/", "tests/swarm/")
MOST_FLAKY = 3
# pytest writes it, if the run has reached its end and tests have failed.
FAILED = Path(".artifacts/failed")


def passes(test: str) -> bool:
    """Run one test in a process of its own."""
    command = [sys.executable, "-m", "pytest", "--numprocesses=0", "--junit-xml=.artifacts/again.xml", test]
    return subprocess.run(command, check=False).returncode == 0


def second_chance(failed: Sequence[str], passes: Callable[[str], bool]) -> tuple[bool, str]:
    """Whether the whole run counts as passed, and the reason. `passes` runs one test by its id."""
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
