"""Authentication: bearer tokens, and the cookie that a browser gets in exchange for one.

The cookie does not contain the token. It carries the token's name, an expiry and a signature with a key that is derived
from the token. So sessions survive a restart and end when their token changes, and the server does not store them.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pydantic import SecretStr
from starlette.requests import cookie_parser

from supervisor.core.jobs.model import Caller
from supervisor.tokens import MAIN_TOKEN, NamedToken, Scope, TokenLimits

SESSION_S = 7 * 24 * 3600
_CONTEXT = b"deadstop session v1"


@dataclass(frozen=True, slots=True)
class Principal:
    """The owner of a valid token: its name, and what it permits."""

    name: str
    scopes: frozenset[Scope]
    limits: TokenLimits

    @property
    def caller(self) -> Caller:
        return Caller(self.name, sees_all=Scope.ADMIN in self.scopes)

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


class _Key:
    """Data of one token that is needed to recognise it and to sign sessions."""

    def __init__(self, principal: Principal, token: SecretStr) -> None:
        secret = token.get_secret_value().encode()
        self.principal = principal
        self.digest = hashlib.sha256(secret).digest()
        self.signing = hmac.digest(secret, _CONTEXT, "sha256")


class Auth:
    """Checks tokens and sessions. `token` is the main one, which permits everything.

    `clock` is wall time in seconds: sessions outlive the process.
    """

    def __init__(
        self, token: str, tokens: Iterable[NamedToken] = (), *, clock: Callable[[], float] = time.time
    ) -> None:
        main = Principal(MAIN_TOKEN, frozenset({Scope.ADMIN}), TokenLimits())
        self._clock = clock
        self._keys = {MAIN_TOKEN: _Key(main, SecretStr(token))}
        for named in tokens:
            self._keys[named.name] = _Key(Principal(named.name, named.scopes, named.limits), named.token)
        # Cookies ignore ports: without the suffix, two servers on one host would overwrite each other's.
        main_key = self._keys[MAIN_TOKEN].signing
        self.cookie_name = f"deadstop_session_{hashlib.sha256(main_key).hexdigest()[:8]}"

    def by_token(self, token: str) -> Principal | None:
        """Return the owner of the token. The time that this takes reveals nothing about any token."""
        given = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found = None
        # Compare with every key, even after one has matched.
        for key in self._keys.values():
            if hmac.compare_digest(given, key.digest):
                found = key.principal
        return found

    def by_header(self, authorization: Iterable[bytes]) -> Principal | None:
        """Return the owner of the token in the Authorization header. There must be exactly one such header."""
        values = list(authorization)
        if len(values) != 1:
            return None
        scheme, _, token = values[0].partition(b" ")
        return self.by_token(token.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None

    def new_session(self, principal: Principal) -> str:
        """Return the value of a cookie that replaces the token for SESSION_S."""
        content = f"{principal.name}.{int(self._clock()) + SESSION_S}"
        return f"{content}.{self._sign(self._keys[principal.name], content)}"

    def by_session(self, cookies: Iterable[bytes]) -> Principal | None:
        """Return the owner of the session in the Cookie headers, if it is this server's and has not expired."""
        for header in cookies:
            # Unlike the standard library's parser, Starlette's tolerates other programs' malformed cookies.
            jar = cookie_parser(header.decode("latin-1"))
            principal = self._by_value(jar.get(self.cookie_name, ""))
            if principal is not None:
                return principal
        return None

    def _by_value(self, value: str) -> Principal | None:
        content, _, signature = value.rpartition(".")
        name, _, expires = content.partition(".")
        key = self._keys.get(name)
        if key is None:
            return None
        genuine = hmac.compare_digest(signature.encode("latin-1", "replace"), self._sign(key, content).encode())
        return key.principal if genuine and float(expires) > self._clock() else None

    def _sign(self, key: _Key, content: str) -> str:
        return hmac.new(key.signing, content.encode("utf-8", "surrogateescape"), "sha256").hexdigest()
