"""Who may ask: the bearer token, and the cookie that a browser gets for it.

The cookie is not the token and does not contain it: it carries an expiry and a signature made with a key derived
from the token. So sessions survive a restart and end when the token changes, and nothing is kept here.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable

from starlette.requests import cookie_parser

SESSION_S = 7 * 24 * 3600
_CONTEXT = b"deadstop session v1"


class Auth:
    """Checks tokens and sessions. `clock` is wall time in seconds: sessions outlive the process."""

    def __init__(self, token: str, *, clock: Callable[[], float] = time.time) -> None:
        secret = token.encode()
        self._clock = clock
        self._digest = hashlib.sha256(secret).digest()
        self._key = hmac.digest(secret, _CONTEXT, "sha256")
        # Cookies do not know ports: without this, two servers of one host would overwrite each other's.
        self.cookie_name = f"deadstop_session_{hashlib.sha256(self._key).hexdigest()[:8]}"
        self.caller = hashlib.sha256(self._key + b"caller").hexdigest()[:16]
        """Names the token without telling it: what is kept per token is kept under this."""

    def token_fits(self, token: str) -> bool:
        """In constant time, for any length."""
        given = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        return hmac.compare_digest(given, self._digest)

    def header_fits(self, authorization: Iterable[bytes]) -> bool:
        """Whether the request's Authorization headers are exactly one, and carry the token."""
        values = list(authorization)
        if len(values) != 1:
            return False
        scheme, _, token = values[0].partition(b" ")
        return scheme.lower() == b"bearer" and self.token_fits(token.strip().decode("latin-1"))

    def new_session(self) -> str:
        """The value of a cookie that is good for SESSION_S."""
        expires = str(int(self._clock()) + SESSION_S)
        return f"{expires}.{self._sign(expires)}"

    def session_fits(self, cookies: Iterable[bytes]) -> bool:
        """Whether one of the request's Cookie headers holds a session of this server that has not expired."""
        return any(self._value_fits(value) for value in self._session_values(cookies))

    def _session_values(self, cookies: Iterable[bytes]) -> Iterable[str]:
        for header in cookies:
            # Starlette's parser, unlike the standard library's, gets over other programs' odd cookies.
            jar = cookie_parser(header.decode("latin-1"))
            if self.cookie_name in jar:
                yield jar[self.cookie_name]

    def _value_fits(self, value: str) -> bool:
        expires, _, signature = value.partition(".")
        genuine = hmac.compare_digest(signature.encode("latin-1", "replace"), self._sign(expires).encode())
        return genuine and float(expires) > self._clock()

    def _sign(self, expires: str) -> str:
        return hmac.new(self._key, expires.encode("utf-8", "surrogateescape"), "sha256").hexdigest()
