"""Who asks: bearer tokens, and the cookie that a browser gets for one.

The cookie is not the token and does not contain it: it carries the token's name, an expiry and a signature made with
a key derived from the token. So sessions survive a restart, end when their token changes, and nothing is kept here.
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
    """Somebody whose token was right: its name, and what it may do."""

    name: str
    scopes: frozenset[Scope]
    limits: TokenLimits

    @property
    def caller(self) -> Caller:
        return Caller(self.name, sees_all=Scope.ADMIN in self.scopes)

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


class _Key:
    """One token, as far as it is needed to recognise it and to sign sessions."""

    def __init__(self, principal: Principal, token: SecretStr) -> None:
        secret = token.get_secret_value().encode()
        self.principal = principal
        self.digest = hashlib.sha256(secret).digest()
        self.signing = hmac.digest(secret, _CONTEXT, "sha256")


class Auth:
    """Checks tokens and sessions. `token` is the one TOKEN, which may do everything.

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
        # Cookies do not know ports: without this, two servers of one host would overwrite each other's.
        main_key = self._keys[MAIN_TOKEN].signing
        self.cookie_name = f"deadstop_session_{hashlib.sha256(main_key).hexdigest()[:8]}"

    def by_token(self, token: str) -> Principal | None:
        """Whose token this is. The time that it takes tells nothing about any token, whatever its length."""
        given = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found = None
        # Every key is looked at, also behind the one that fits.
        for key in self._keys.values():
            if hmac.compare_digest(given, key.digest):
                found = key.principal
        return found

    def by_header(self, authorization: Iterable[bytes]) -> Principal | None:
        """Whose token the request's Authorization header carries. There must be exactly one."""
        values = list(authorization)
        if len(values) != 1:
            return None
        scheme, _, token = values[0].partition(b" ")
        return self.by_token(token.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None

    def new_session(self, principal: Principal) -> str:
        """The value of a cookie that stands for the token for SESSION_S."""
        content = f"{principal.name}.{int(self._clock()) + SESSION_S}"
        return f"{content}.{self._sign(self._keys[principal.name], content)}"

    def by_session(self, cookies: Iterable[bytes]) -> Principal | None:
        """Whose session one of the request's Cookie headers holds: one of this server that has not expired."""
        for header in cookies:
            # Starlette's parser, unlike the standard library's, gets over other programs' odd cookies.
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
