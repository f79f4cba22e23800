"""What the hub tells browsers and takes from them, beside JupyterHub's own care: cookies, headers, bodies, the log."""

from __future__ import annotations

from typing import Any

from tornado.httpserver import HTTPServer

from dockyard.hub.logmask import Masked

# Bytes. All that is sent to the hub itself is a form or a few lines of JSON, and lies in its memory as a whole.
LARGEST_BODY = 10 * 2**20


def tornado_settings(public_url: str) -> dict[str, Any]:
    """JupyterHub.tornado_settings. The cookies' options are those of users' servers, too."""
    # Lax: whoever comes back from a sign-in service has come from another site.
    cookies: dict[str, Any] = {"samesite": "Lax"}
    if public_url.startswith("https:"):
        cookies["secure"] = True
    headers = {
        "Server": "JupyterHub",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "strict-origin-when-cross-origin",
    }
    return {"cookie_options": cookies, "headers": headers}


def limit_bodies() -> None:
    """Have what is larger refused. Holds for the process: JupyterHub has no trait for it."""
    HTTPServer.configure(None, max_body_size=LARGEST_BODY)


LOGGING: dict[str, Any] = {"filters": {"masked": {"()": Masked}}, "handlers": {"console": {"filters": ["masked"]}}}
