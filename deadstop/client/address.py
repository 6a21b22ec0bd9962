"""Which server to talk to, and with which token.

The few settings that a client needs are read here: with `supervisor.config` every command would wait for pydantic.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deadstop.client.errors import NotConfigured
from deadstop.folders import WHAT_TO_DO, user_config_folder, user_state_folder

DEFAULT_URL = "http://127.0.0.1:8700"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and how we know: error messages name the sources, so that a person can correct them."""

    url: str
    url_source: str
    token: str | None
    token_source: str

    @property
    def loopback(self) -> bool:
        """Whether only this machine can be meant, so that the server sees the same directories as we do."""
        return is_loopback(urlsplit(self.url).hostname or "")


def find_server(url: str | None, environ: Mapping[str, str] = os.environ) -> Address:
    """Return the address from `url`, DEADSTOP_URL, the running server's `server.json`, or the default, in this order.

    The token is DEADSTOP_TOKEN or the file `token` in STATE_DIR. That file belongs to the server on this machine and
    is not sent anywhere else. Raise NotConfigured if the URL is not valid, or if no folder can hold a token.
    """
    state_dir = _state_dir(environ)
    noted = _noted_url(state_dir)
    found, source = _url(url, environ, noted)
    host = _checked_host(found, source)
    token, token_source = _token(environ, state_dir)
    if not environ.get("DEADSTOP_TOKEN") and not is_loopback(host) and found != noted:
        token, token_source = None, f"DEADSTOP_TOKEN (the one in {state_dir} belongs to the server on this machine)"
    return Address(found.rstrip("/"), source, token, token_source)


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def start_line() -> str:
    """Return the line that starts a server, ready to be pasted into a shell here."""
    if shutil.which("deadstop"):
        return "deadstop serve"
    script = Path(__file__).resolve().parents[2] / "run_api.sh"
    if script.exists():
        here = Path(os.path.relpath(script))
        return f"./{here}" if len(here.parts) == 1 else str(min(here, script, key=lambda path: len(str(path))))
    return f"{sys.executable} -m supervisor serve"


def _state_dir(environ: Mapping[str, str]) -> Path | None:
    """Return None for a user who has no home directory and has not named a folder either."""
    if environ.get("DEADSTOP_STATE_DIR"):
        return Path(environ["DEADSTOP_STATE_DIR"])
    folder = user_config_folder()
    try:
        values = {} if folder is None else tomllib.loads((folder / "deadstop.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # `serve` says what is wrong with the file; a client can still talk to a server elsewhere.
        values = {}
    for name, value in values.items():
        if name.lower() == "state_dir" and isinstance(value, str):
            return Path(value)
    return user_state_folder()


def _noted_url(state_dir: Path | None) -> str | None:
    if state_dir is None:
        return None
    try:
        note = json.loads((state_dir / "server.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    url = note.get("url") if isinstance(note, dict) else None
    return url if isinstance(url, str) else None


def _url(given: str | None, environ: Mapping[str, str], noted: str | None) -> tuple[str, str]:
    if given:
        return given, "--url"
    if environ.get("DEADSTOP_URL"):
        return environ["DEADSTOP_URL"], "DEADSTOP_URL"
    if noted:
        return noted, "server.json"
    port = environ.get("DEADSTOP_PORT", "")
    if port.isdigit() and port != "0":
        return f"http://127.0.0.1:{port}", "DEADSTOP_PORT"
    return DEFAULT_URL, "default"


def _checked_host(url: str, source: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts.hostname
    except ValueError:
        pass
    message = f"cannot use {source} {url!r}: write it as http://HOST:PORT"
    raise NotConfigured(message, "invalid-url", field="url")


def _token(environ: Mapping[str, str], state_dir: Path | None) -> tuple[str | None, str]:
    if environ.get("DEADSTOP_TOKEN"):
        return environ["DEADSTOP_TOKEN"], "DEADSTOP_TOKEN"
    if state_dir is None:
        message = f"cannot find the server's token: {WHAT_TO_DO}, or DEADSTOP_TOKEN"
        raise NotConfigured(message, "no-token", field="token")
    path = state_dir / "token"
    try:
        return path.read_text(encoding="utf-8").strip() or None, str(path)
    except OSError as exc:
        return None, f"DEADSTOP_TOKEN or {path} ({exc.strerror})"
