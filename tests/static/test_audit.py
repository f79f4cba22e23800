"""Whoever finds no hole has to have looked."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from support.repo import ROOT


@pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")
def test_an_audit_that_could_ask_nobody_fails() -> None:
    nobody = "http://127.0.0.1:9"
    environ = os.environ | {"HTTPS_PROXY": nobody, "https_proxy": nobody, "npm_config_fetch_retries": "0"}
    environ = {name: value for name, value in environ.items() if name.lower() != "no_proxy"}
    done = subprocess.run(
        ["scripts/audit"],
        cwd=ROOT,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout
    asked = "hub/requirements.txt singleuser/requirements.txt tests/requirements.txt hub/proxy/package-lock.json"
    assert f"known holes, or nobody who could be asked, in: {asked}" in done.stdout
    assert "No known hole" not in done.stdout
