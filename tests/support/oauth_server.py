"""An OAuth provider on this machine, as strict as real ones: authorize page, codes that work once, PKCE, client secret,
registered callback, tokens that can be revoked. Services are subclasses.

It listens on all addresses; `url` has the one by which both the hub's container and a browser here reach it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

import docker


@dataclass
class Account:
    login: str
    id: int
    organizations: set[str] = field(default_factory=set)
    """Memberships that everybody sees."""
    private_organizations: set[str] = field(default_factory=set)
    """Memberships that only a token with read:org sees."""
    teams: set[str] = field(default_factory=set)
    """`org:team`."""
    claims: dict[str, Any] = field(default_factory=dict)


@dataclass
class Grant:
    account: Account
    scope: str
    redirect_uri: str = ""
    challenge: str = ""


class Answer(Exception):
    """Ends a request: a status, a body (JSON unless it is text), headers."""

    def __init__(self, status: int, body: Any = None, **headers: str):
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


def redirect(url: str, **parameters: str) -> Answer:
    return Answer(302, "", Location=f"{url}?{urlencode(parameters)}")


class OAuthServer:
    """The provider's state, which tests read and change, and its endpoints."""

    authorize_path = "/authorize"
    token_path = "/token"
    service = "Stand-in"

    def __init__(self) -> None:
        self.client_id = "the-client"
        self.client_secret = secrets.token_hex(20)
        self.callback = ""
        self.url = ""
        self.accounts: dict[str, Account] = {}
        self.codes: dict[str, Grant] = {}
        self.tokens: dict[str, Grant] = {}
        self.scopes_seen: list[str] = []
        self.calls: list[str] = []
        self.fault = 0
        """Answer every call of the hub, not of browsers, with this status."""
        self.gone = False
        """Close connections without an answer."""

    def add(self, login: str, **about: Any) -> Account:
        self.accounts[login] = Account(login, 1000 + len(self.accounts), **about)
        return self.accounts[login]

    def revoke(self, login: str) -> None:
        """End all tokens of an account, as its owner can at the service."""
        self.tokens = {token: grant for token, grant in self.tokens.items() if grant.account.login != login}

    def get(self, path: str, query: dict[str, str], headers: Any) -> Answer:
        if path == self.authorize_path:
            return self._authorize_page(query)
        self.calls.append(path)
        if self.fault:
            return Answer(self.fault, {"message": "out of order"})
        token = headers.get("Authorization", "").partition(" ")[2]
        if token not in self.tokens:
            return Answer(401, {"message": "Bad credentials"})
        return self.api(path, self.tokens[token])

    def api(self, path: str, grant: Grant) -> Answer:
        raise NotImplementedError

    def user_agreed(self, query: dict[str, str], form: dict[str, str]) -> Answer:
        account = self.accounts.get(form["login"])
        if form.get("deny") or account is None:
            why = {"error": "access_denied", "error_description": "The user has denied access"}
            return redirect(query["redirect_uri"], state=query["state"], **why)
        code = secrets.token_hex(10)
        scope = query.get("scope", "")
        self.scopes_seen.append(scope)
        self.codes[code] = Grant(account, scope, query["redirect_uri"], query["code_challenge"])
        return redirect(query["redirect_uri"], code=code, state=query["state"])

    def _authorize_page(self, query: dict[str, str]) -> Answer:
        if query.get("client_id") != self.client_id:
            return Answer(404, "<h1>404</h1>There is no such application.")
        if query.get("redirect_uri") != self.callback:
            return Answer(400, "<h1>Be careful!</h1>The redirect_uri is not associated with this application.")
        if query.get("response_type") != "code" or query.get("code_challenge_method") != "S256":
            return Answer(400, "<h1>Bad request</h1>")
        people = "".join(f"<option>{html.escape(login)}</option>" for login in self.accounts)
        return Answer(
            200,
            f"<!DOCTYPE html><title>{self.service}</title><h1>{self.service}</h1><form method=post>"
            f"<p>The application asks for: {html.escape(query.get('scope') or 'who you are')}</p>"
            f"<label>Account <select name=login>{people}</select></label>"
            "<button>Authorize</button><button name=deny value=1>Cancel</button></form>",
        )

    def token(self, form: dict[str, str]) -> Answer:
        self.calls.append(self.token_path)
        if self.fault:
            return Answer(self.fault, {"message": "out of order"})
        if (form.get("client_id"), form.get("client_secret")) != (self.client_id, self.client_secret):
            return self.token_error("incorrect_client_credentials", "The client_id and/or client_secret are incorrect.")
        grant = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        verifier = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if grant is None or grant.redirect_uri != form.get("redirect_uri") or grant.challenge != verifier:
            return self.token_error("bad_verification_code", "The code passed is incorrect or expired.")
        token = secrets.token_hex(20)
        self.tokens[token] = grant
        return Answer(200, {"access_token": token, "token_type": "bearer", "scope": grant.scope})

    def token_error(self, error: str, description: str) -> Answer:
        """As RFC 6749 has it."""
        return Answer(400, {"error": error, "error_description": description})


Server = TypeVar("Server", bound=OAuthServer)


class _Handler(BaseHTTPRequestHandler):
    provider: OAuthServer

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        self._send(self.provider.get(where.path, _flat(where.query), self.headers))

    def do_POST(self) -> None:
        where = urlsplit(self.path)
        form = _flat(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if where.path == self.provider.authorize_path:
            self._send(self.provider.user_agreed(_flat(where.query), form))
        else:
            self._send(self.provider.token(form))

    def _send(self, answer: Answer) -> None:
        if self.provider.gone:
            self.close_connection = True
            return
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        body = b"" if answer.status == 204 else text.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "text/html" if isinstance(answer.body, str) else "application/json")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _flat(query: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(query).items()}


def address() -> str:
    """This machine's address on the engine's default bridge, which every container reaches."""
    (config, *_) = docker.from_env().networks.get("bridge").attrs["IPAM"]["Config"]
    return str(config["Gateway"])


@contextmanager
def serving(provider: Server, certificate: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """Serve `provider`; over TLS where a certificate and its key (PEM) are given."""
    handler = type("Handler", (_Handler,), {"provider": provider})
    server = ThreadingHTTPServer(("0.0.0.0", 0), handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    provider.url = f"http{'s' if certificate else ''}://{address()}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
