"""A small package to install with pip where no index can be reached."""

from __future__ import annotations

import io
import json
import zipfile

NAME = "mine-1-py3-none-any.whl"


def wheel() -> bytes:
    """A package that brings a prebuilt extension of JupyterLab."""
    extension = "mine-1.data/data/share/jupyter/labextensions/mine"
    package = {
        "name": "mine",
        "version": "1.0.0",
        "jupyterlab": {"_build": {"load": "static/a.js", "extension": "./x"}},
    }
    files = {
        f"{extension}/package.json": json.dumps(package),
        f"{extension}/static/a.js": "",
        "mine-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: mine\nVersion: 1\n",
        "mine-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files["mine-1.dist-info/RECORD"] = "".join(f"{name},,\n" for name in [*files, "mine-1.dist-info/RECORD"])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()
