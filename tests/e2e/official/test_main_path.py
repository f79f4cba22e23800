"""The main path on the official image, and all that depends on where Python and Debian's sources are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from support import browser as do
from support.kit import Kit
from support.user import Kernel, User
from support.wheel import NAME, wheel

INTERPRETER = """
import http.client, os, sys
print(sys.base_prefix, sys.executable, os.path.exists("/usr/bin/python3"), os.path.exists(http.client.__cached__))
"""


@pytest.fixture(scope="module")
def ann(running: Kit) -> Iterator[User]:
    ann = running.user("ann").sign_in().started()
    yield ann
    ann.stop()


@pytest.fixture
def kernel(ann: User) -> Iterator[Kernel]:
    with ann.kernel() as kernel:
        kernel.run(f"open({NAME!r}, 'wb').write({wheel()!r})")
        yield kernel


@pytest.mark.parametrize(("image", "environment"), [("hub", "hub"), ("singleuser", "notebook")])
def test_the_images_run_on_the_python_of_the_official_image(running: Kit, image: str, environment: str) -> None:
    command = ["python3", "-c", INTERPRETER]
    printed = running.client.containers.run(f"{running.project}-{image}:0.1.0", command, remove=True)
    assert printed.decode() == f"/usr/local /opt/{environment}/bin/python3 False True\n"


def test_a_cell_runs_in_a_browser(running: Kit, browser: Browser) -> None:
    bob = running.user("bob")
    with do.page(browser) as page:
        do.fill_in_login(page, bob)
        do.wait_for_lab(page, bob)
        do.new_notebook(page)
        assert do.run_cell(page, "print(6 * 7, 'ü from a kernel')") == "42 ü from a kernel"
    bob.sign_in().stop()


def test_pip_in_a_notebook_installs_into_the_home(kernel: Kernel) -> None:
    for pip in ("!pip", "%pip", "!python -m pip"):
        kernel.run("!rm -rf ~/.local/lib")
        assert "Successfully installed mine-1" in kernel.run(f"{pip} install --no-index {NAME}", timeout=60)
        assert "Location: /home/jovyan/.local/lib/python3" in kernel.run(f"{pip} show mine")


def test_an_environment_made_in_a_notebook_has_a_pip_of_its_own(kernel: Kernel) -> None:
    kernel.run("!python -m venv v", timeout=60)
    assert "Successfully installed mine-1" in kernel.run(f"!v/bin/pip install --no-index {NAME}", timeout=60)
    assert "Location: /home/jovyan/v/lib/python3" in kernel.run("!v/bin/pip show mine")


@pytest.mark.parametrize("shell", ["bash -lc", "sh -lc", "env -i HOME=/home/jovyan bash -lc"])
def test_a_login_shell_finds_pip(kernel: Kernel, shell: str) -> None:
    look = "command -v python; command -v python3; command -v pip; pip --version"
    *found, version = kernel.run(f"!{shell} '{look}'", timeout=60).splitlines()
    assert found == [f"/opt/notebook/bin/{name}" for name in ("python", "python3", "pip")]
    assert " from /opt/notebook/lib/python3" in version
