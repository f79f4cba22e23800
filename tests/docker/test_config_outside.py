"""A copy of the kit's jupyterhub_config.py outside the kit, with the changes that its header names."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import requests

from support.jupyterhub import proxy_command
from support.ports import free_port
from support.repo import ROOT
from support.wait import wait_until

ENVIRON = {
    "COOKIE_SECRET": "0f" * 32,
    "CRYPT_KEY": "ab" * 32,
    "PROXY_AUTH_TOKEN": "t" * 40,
    "DOCKER_GID": "0",
    "NOTEBOOK_IMAGE": "dockyard-test/nosuch:1",
    "USER_PASSWORD": "user-secret-value",
    "ADMIN_PASSWORD": "0123456789abcdef-admin-secret-value-40",
}


def test_a_copy_with_the_changes_of_its_header_is_a_hub(tmp_path: Path) -> None:
    text = (ROOT / "hub/jupyterhub_config.py").read_text()
    documented = [line for line in text.split('"""')[1].splitlines() if line.startswith("    c.")]
    changes = textwrap.dedent("\n".join(documented))
    ports = {port: free_port() for port in (8000, 8001, 8081)}
    for port, free in ports.items():
        changes = changes.replace(f":{port}", f":{free}")
    copy = tmp_path / "jupyterhub_config.py"
    copy.write_text(f"{text}\n{changes}\nc.ConfigurableHTTPProxy.command = {proxy_command()!r}\n")
    path = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "hub")}
    url = f"http://127.0.0.1:{ports[8000]}"
    with (tmp_path / "hub.log").open("wb") as log:
        command = [sys.executable, "-m", "jupyterhub", "--config", str(copy)]
        hub = subprocess.Popen(command, cwd=tmp_path, env={**path, **ENVIRON}, stdout=log, stderr=log)
    with hub:
        try:

            def answers() -> bool:
                assert hub.poll() is None, (tmp_path / "hub.log").read_text()
                try:
                    return requests.get(f"{url}/hub/login", timeout=5).status_code == 200
                except requests.ConnectionError:
                    return False

            wait_until(answers, timeout=60)
            session = requests.Session()
            session.get(f"{url}/hub/login", timeout=10)
            form = {"username": "ada", "password": ENVIRON["USER_PASSWORD"], "_xsrf": session.cookies["_xsrf"]}
            signed_in = session.post(f"{url}/hub/login?next=/hub/home", data=form, timeout=30)
            assert signed_in.url == f"{url}/hub/home"
            assert "ada" in signed_in.text
        finally:
            hub.terminate()
