"""The spawner's unit tests on JupyterHub 5. They need no engine; what they need is an environment made for them."""

from __future__ import annotations

import subprocess

from support.repo import ROOT
from support.venvs import python_of


def test_the_unit_tests_pass_on_jupyterhub_5() -> None:
    # The cache is that of the tests that run now.
    pytest = [python_of("jupyterhub5"), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/spawner"]
    run = subprocess.run(pytest, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-1000:]
