"""The setting TOKENS: bearer tokens with names, scopes and limits.

The short form for a variable, with commas between the tokens:

    DEADSTOP_TOKENS='ci:submit+read:SECRET,grafana:read:OTHERSECRET'

The long form for deadstop.toml, which has limits; the variable may hold the same object as JSON:

    [tokens.ci]
    token = "SECRET"
    scopes = ["submit", "read"]
    max_running = 4
    max_queued = 20
    max_streams = 10
    max_requests_per_s = 50

No message of this module quotes a token, or a value that might be a token in the wrong place.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

MAIN_TOKEN = "token"  # noqa: S105  # a name
"""The name of the token in the setting TOKEN. It is `admin`, and no other token may have this name."""
NAME_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Scope(StrEnum):
    """Permissions of a token. Unless it is `admin`, a token only sees the jobs that were created with it."""

    SUBMIT = "submit"
    """Create jobs, and stop them, send them input, renew their leases and forget them."""
    READ = "read"
    """Read its own jobs, their events and files, and the server's health and metrics."""
    ADMIN = "admin"
    """Everything, with the jobs of all tokens."""


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """Limits of one token. If a field is None only the server's own limit applies."""

    max_running: int | None = None
    max_queued: int | None = None
    max_streams: int | None = None
    max_requests_per_s: float | None = None


class NamedToken(BaseModel):
    """One entry of TOKENS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    token: SecretStr
    scopes: frozenset[Scope]
    max_running: Annotated[int, Field(ge=1)] | None = None
    max_queued: Annotated[int, Field(ge=0)] | None = None
    max_streams: Annotated[int, Field(ge=0)] | None = None
    max_requests_per_s: Annotated[float, Field(gt=0, le=1e6)] | None = None

    @property
    def limits(self) -> TokenLimits:
        return TokenLimits(self.max_running, self.max_queued, self.max_streams, self.max_requests_per_s)


def parse_tokens(value: Any) -> tuple[NamedToken, ...]:
    """Return the tokens of a value from any source. Raise ValueError, which names the entry and what to do."""
    if isinstance(value, str):
        value = _parse_text(value)
    if isinstance(value, dict):
        value = [_named(name, entry) for name, entry in value.items()]
    if not isinstance(value, list | tuple):
        raise ValueError("write NAME:SCOPE+SCOPE:TOKEN with commas between them, or a table [tokens.NAME]")
    tokens = tuple(_entry(entry, number) for number, entry in enumerate(value, 1))
    _check_distinct(tokens)
    return tokens


def check_sendable(secret: SecretStr) -> None:
    """Raise ValueError if an Authorization header cannot carry the secret."""
    text = secret.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be printable ASCII without spaces, and not empty")


def _parse_text(text: str) -> Any:
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            # Python's message would quote a part of the value.
            raise ValueError("begins like JSON and is none") from None
    return [_parse_short(part.strip(), number) for number, part in enumerate(text.split(","), 1) if part.strip()]


def _parse_short(part: str, number: int) -> dict[str, Any]:
    name, colon, rest = part.partition(":")
    scopes, second_colon, token = rest.partition(":")
    if not colon or not second_colon:
        raise ValueError(f"entry {number}: write NAME:SCOPE+SCOPE:TOKEN, such as ci:submit+read:SECRET")
    return {"name": name.strip(), "scopes": scopes.split("+"), "token": token}


def _named(name: str, entry: Any) -> Any:
    return {"name": name, **entry} if isinstance(entry, dict) else entry


def _entry(entry: Any, number: int) -> NamedToken:
    if isinstance(entry, NamedToken):
        return entry
    if not isinstance(entry, dict):
        raise ValueError(f"entry {number}: must be a table with token and scopes")  # pydantic takes no TypeError
    name = entry.get("name")
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise ValueError(f"entry {number}: a name is 1 to 64 letters, digits, _ or -")
    if name == MAIN_TOKEN:
        raise ValueError(f"entry {number}: the name {MAIN_TOKEN!r} is kept for DEADSTOP_TOKEN")
    if unknown := entry.keys() - NamedToken.model_fields.keys():
        raise ValueError(f"{name}: unknown {', '.join(sorted(map(str, unknown)))}")
    _check_scopes(name, entry.get("scopes"))
    try:
        token = NamedToken.model_validate(entry)
        check_sendable(token.token)
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{name}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
    except ValueError as exc:
        raise ValueError(f"{name}: token: {exc}") from None
    return token


def _check_scopes(name: str, scopes: Any) -> None:
    known = ", ".join(Scope)
    if not isinstance(scopes, list | tuple | set | frozenset) or not scopes:
        raise ValueError(f"{name}: scopes: give a list of {known}")
    if not all(isinstance(scope, str) and scope in set(Scope) for scope in scopes):
        # The value may be the token in the wrong place, so it is not quoted.
        raise ValueError(f"{name}: scopes: one of them is unknown; there are {known}")


def _check_distinct(tokens: tuple[NamedToken, ...]) -> None:
    names = [token.name for token in tokens]
    secrets = [token.token.get_secret_value() for token in tokens]
    for index, token in enumerate(tokens):
        if token.name in names[:index]:
            raise ValueError(f"{token.name}: the name is there twice")
        if secrets[index] in secrets[:index]:
            raise ValueError(f"{token.name}: the token is that of {names[secrets.index(secrets[index])]}")
