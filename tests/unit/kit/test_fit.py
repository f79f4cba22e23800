"""Which versions of runc and of the engine `scripts/fit` reports."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.repo import ROOT

ENGINE, RUNC = "28.5.2", "1.3.3"
Fit = Callable[[str, str], str]


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """What `scripts/fit` prints on a machine with an engine and a runc of these versions."""

    def run(engine: str, runc: str) -> str:
        (tmp_path / "docker").write_text(
            "#!/bin/sh\n"
            'case "$*" in\n'
            f'  *Components*) echo "{runc}" ;;\n'
            f'  *Server.Version*) echo "{engine}" ;;\n'
            '  "compose version"*) echo 2.40.0 ;;\n'
            "  info*) echo / ;;\n"
            "esac\n"
        )
        (tmp_path / "docker").chmod(0o755)
        environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", "scripts/fit"], cwd=ROOT, env=environ, capture_output=True, text=True)
        return "".join(line for line in done.stderr.splitlines(True) if "CVE" in line)

    return run


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ("1.0.3", "1.2.8"),
        ("1.1.0", "1.2.8"),
        ("1.1.11", "1.2.8"),
        ("1.1.12", "1.2.8"),
        ("1.1.15", "1.2.8"),
        ("v1.2.7", "1.2.8"),
        ("1.2.0-rc.1", "1.2.8"),
        ("1.3.0", "1.3.3"),
        ("1.3.2", "1.3.3"),
        ("1.3.0-rc.2", "1.3.3"),
        ("1.4.0-rc.1", "1.4.0-rc.3"),
        ("1.4.0-rc.2", "1.4.0-rc.3"),
    ],
)
def test_a_runc_without_fixes_is_a_problem(fit: Fit, version: str, fixed: str) -> None:
    said = fit(ENGINE, version)
    assert said.startswith(f"  - runc is {version}, and {fixed} is the first version that fixes CVE-")
    assert "CVE-2025-31133" in said
    assert ("CVE-2024-21626" in said) == (version in ("1.0.3", "1.1.0", "1.1.11"))


@pytest.mark.parametrize(
    "version", ["1.1.5+ds1", "1.1.15+ds1", "1.1.12-0ubuntu2~22.04.1", "1.2.5-0ubuntu1~24.04.1", "1.1.4~ds1"]
)
def test_a_distributions_runc_is_a_hint(fit: Fit, version: str) -> None:
    assert fit(ENGINE, version).startswith(f"  ~ runc is {version}, a distribution's package")


@pytest.mark.parametrize(
    "version",
    [
        *("1.2.8", "1.2.10", "1.3.3", "1.3.4", "1.4.0-rc.3", "1.4.0-rc.10", "1.4.0", "1.4.1", "1.10.0", "2.0.0"),
        *("1.3.3+ds1", "1.3.3-0ubuntu1~24.04.2", "", "unknown"),
    ],
)
def test_a_runc_with_its_fixes_is_not_reported(fit: Fit, version: str) -> None:
    assert fit(ENGINE, version) == ""


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("25.0.4", "  - Docker Engine is 25.0.4, and 25.0.5 is the first version that fixes CVE-2024-29018"),
        ("25.0.3+dfsg1", "  ~ Docker Engine is 25.0.3+dfsg1, a distribution's package"),
        ("26.0.0", "  - Docker Engine is 26.0.0, and 26.0.2 is the first version that fixes CVE-2024-32473"),
        ("26.0.1", "  - Docker Engine is 26.0.1, and 26.0.2 is the first version that fixes CVE-2024-32473"),
        ("25.0.5", ""),
        ("25.0.13", ""),
        ("26.0.2", ""),
        ("26.1.5+dfsg1", ""),
        ("28.5.2", ""),
    ],
)
def test_engines_below_the_floor(fit: Fit, version: str, said: str) -> None:
    found = fit(version, RUNC)
    assert found.startswith(said)
    assert bool(found) == bool(said)
