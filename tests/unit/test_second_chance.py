"""Failures that a repeated test can fix: see .ci/run."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from support.repo import ROOT

ENGINE = [f"tests/docker/test_hub.py::test_{number}" for number in range(9)]


@pytest.fixture
def module() -> Any:
    spec = importlib.util.spec_from_file_location("second_chance", ROOT / ".ci/second_chance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("failed", "broken", "passed", "says"),
    [
        (ENGINE[:1], [], True, "FLAKY (1)"),
        (ENGINE[:3], [], True, "FLAKY (3)"),
        (ENGINE[:3], ENGINE[1:2], False, "Failed twice:\n  tests/docker/test_hub.py::test_1"),
        (["tests/e2e/tls/test_edge.py::test_one", "tests/swarm/test_nodes.py::test_one"], [], True, "FLAKY (2)"),
    ],
)
def test_second_chance_few_engine_tests_runs_each_once(
    module: Any, failed: Sequence[str], broken: Sequence[str], passed: bool, says: str
) -> None:
    ran: list[str] = []

    def passes(test: str) -> bool:
        ran.append(test)
        return test not in broken

    verdict, reason = module.second_chance(failed, passes)
    assert (verdict, ran) == (passed, list(failed))
    assert says in reason


@pytest.mark.parametrize("failed", [[], ENGINE[:4], [*ENGINE[:1], "tests/unit/test_one.py::test_one"]])
def test_second_chance_other_failures_runs_nothing(module: Any, failed: Sequence[str]) -> None:
    verdict, reason = module.second_chance(failed, lambda test: pytest.fail(f"{test} was run again"))
    assert not verdict
    assert all(test in reason for test in failed if "docker" not in test or len(failed) > 3)


TESTS = """
from pathlib import Path

def test_flaky():
    first = Path("first-run")
    passed = first.exists()
    first.touch()
    assert passed

def test_broken():
    assert not {broken}
"""


@pytest.mark.parametrize("broken", [False, True])
def test_second_chance_on_real_runs_passes_only_what_passes_twice(tmp_path: Path, broken: bool) -> None:
    folder = tmp_path / "tests/docker"
    folder.mkdir(parents=True)
    (folder / "test_one.py").write_text(TESTS.format(broken=broken))
    shutil.copy(ROOT / "tests/conftest.py", tmp_path / "tests")
    shutil.copytree(ROOT / "tests/support", tmp_path / "tests/support", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)

    assert run("-m", "pytest", "--numprocesses=1").returncode == pytest.ExitCode.TESTS_FAILED
    again = run(str(ROOT / ".ci/second_chance.py"))
    assert again.returncode == int(broken), again.stdout
    assert "FLAKY (1): passed when repeated:\n  tests/docker/test_one.py::test_flaky" in again.stdout
    assert ("Failed twice:\n  tests/docker/test_one.py::test_broken" in again.stdout) == broken
