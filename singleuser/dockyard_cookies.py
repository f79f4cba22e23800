"""A server extension: the token against forged forms is a cookie with the options of all others.

JupyterHub hands a server those of its cookies, and uses them for the one that signs its user in. The other one it makes
by a setting of the web server's, of which Jupyter sets the path.
"""

from __future__ import annotations

import json
import os
from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: Any) -> None:
    """Whatever is configured stays in force."""
    settings, name = app.web_app.settings, "xsrf_cookie_kwargs"
    options = json.loads(os.environ.get("JUPYTERHUB_COOKIE_OPTIONS") or "{}")
    settings[name] = {**options, **settings.get(name, {})}
