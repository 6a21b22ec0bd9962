"""TOKENS: which values are accepted, and that no message ever contains a token."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from supervisor.api.guard.auth import SESSION_S, Auth
from supervisor.config import load_settings
from supervisor.core.jobs.model import Caller
from supervisor.errors import StartupError
from supervisor.tokens import MAIN_TOKEN, Scope, TokenLimits, parse_tokens

SECRET = "swordfish-7c1d"


def test_the_short_form() -> None:
    ci, grafana = parse_tokens(f"ci:submit+read:{SECRET}, grafana:read:with:colons=,")
    assert (ci.name, sorted(ci.scopes), ci.token.get_secret_value()) == ("ci", ["read", "submit"], SECRET)
    assert (grafana.name, list(grafana.scopes)) == ("grafana", [Scope.READ])
    assert grafana.token.get_secret_value() == "with:colons="
    assert ci.limits == TokenLimits()


@pytest.mark.parametrize("as_text", [True, False])
def test_the_table_has_limits(as_text: bool) -> None:
    table = {"ci": {"token": SECRET, "scopes": ["admin"], "max_running": 2, "max_requests_per_s": 0.5}}
    (ci,) = parse_tokens(json.dumps(table) if as_text else table)
    assert ci.limits == TokenLimits(max_running=2, max_requests_per_s=0.5)


def test_the_bounds_of_the_limits_belong_to_them() -> None:
    least = {"max_running": 1, "max_queued": 0, "max_streams": 0, "max_requests_per_s": 1e6}
    (zoo,) = parse_tokens({"zoo": {"token": SECRET, "scopes": ["read"], **least}})
    assert zoo.limits == TokenLimits(1, 0, 0, 1e6)


def test_a_token_and_its_limits_cannot_be_changed() -> None:
    (ci,) = parse_tokens(f"ci:read:{SECRET}")
    with pytest.raises(ValidationError):
        setattr(ci, "scopes", frozenset(Scope))  # noqa: B010 - mypy would reject the plain assignment
    with pytest.raises(FrozenInstanceError):
        setattr(ci.limits, "max_running", 2)  # noqa: B010
    assert "__slots__" in vars(TokenLimits)


def test_a_file_and_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "deadstop.toml"
    file.write_text(f'[tokens.ci]\ntoken = "{SECRET}"\nscopes = ["submit"]\nmax_queued = 0\n')
    (ci,) = load_settings(file).tokens
    assert (ci.name, ci.max_queued) == ("ci", 0)
    monkeypatch.setenv("DEADSTOP_TOKENS", "other:read:x")
    assert [token.name for token in load_settings(file).tokens] == ["other"]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (SECRET, "entry 1: write NAME:SCOPE"),
        (f"ci:{SECRET}", "entry 1: write NAME:SCOPE"),
        (f"ci:read:{SECRET} x", "ci: token: must be printable"),
        (f"c i:read:{SECRET}", "entry 1: a name is"),
        (f"token:read:{SECRET}", "entry 1: the name 'token' is kept"),
        (f"ci:{SECRET}:read", "ci: scopes: one of them is unknown; there are submit, read, admin"),
        (f"ci::{SECRET}", "ci: scopes: one of them is unknown"),
        ("ci:read:", "ci: token: must be printable"),
        ("ci:read:tökén", "ci: token: must be printable"),
        (f"ci:read:{SECRET},ci:submit:other", "ci: the name is there twice"),
        (f"ci:read:{SECRET},cd:submit:{SECRET}", "cd: the token is that of ci"),
        ('{"ci": {"token": "' + SECRET, "begins like JSON"),
        ({"ci": SECRET}, "entry 1: must be a table"),
        ({"ci": {"token": SECRET}}, "ci: scopes: give a list"),
        ({"ci": {"scopes": ["read"]}}, "ci: token: "),
        ({"ci": {"token": SECRET, "scopes": ["read"], "max_runing": 1}}, "ci: unknown max_runing"),
        ({"ci": {"token": SECRET, "scopes": ["read"], "max_running": 0}}, "ci: max_running: "),
        ({"ci": {"token": [SECRET], "scopes": ["read"]}}, "ci: token: "),
        ({"ci": {"token": SECRET, "scopes": "read"}}, "ci: scopes: give a list"),
        ({"ci": {"token": SECRET, "scopes": []}}, "ci: scopes: give a list"),
        ({"ci": {"token": SECRET, "scopes": ["read"], "max_queued": -1}}, "ci: max_queued: "),
        ({"ci": {"token": SECRET, "scopes": ["read"], "max_streams": -1}}, "ci: max_streams: "),
        ({"ci": {"token": SECRET, "scopes": ["read"], "max_requests_per_s": 0}}, "ci: max_requests_per_s: "),
        ({"ci": {"token": SECRET, "scopes": ["read"], "max_requests_per_s": 1e6 + 0.5}}, "ci: max_requests_per_s: "),
        ({"ci": {"token": SECRET, "scopes": ["read"], "max_running": 0, "max_queued": -1}}, "ci: max_running: "),
        (7, "write NAME:SCOPE"),
    ],
)
def test_what_is_refused_is_named_without_the_token(value: Any, complaint: str) -> None:
    with pytest.raises(StartupError, match=f"^cannot use DEADSTOP_TOKENS: {complaint}") as refusal:
        load_settings(Path("/dev/null"), tokens=value)
    told = str(refusal.value)
    assert "\n" not in told
    assert SECRET not in told


def test_the_one_token_is_not_named_again() -> None:
    with pytest.raises(StartupError, match="the token ci of DEADSTOP_TOKENS is the one of DEADSTOP_TOKEN"):
        load_settings(Path("/dev/null"), token=SECRET, tokens=f"ci:read:{SECRET}")


def test_settings_do_not_print_tokens() -> None:
    settings = load_settings(Path("/dev/null"), token="main-" + SECRET, tokens=f"ci:read:{SECRET}")
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.model_dump())


def test_who_is_who() -> None:
    auth = Auth("main", parse_tokens("ci:submit:one,boss:admin:two"))
    main, ci, boss = auth.by_token("main"), auth.by_token("one"), auth.by_token("two")
    assert main is not None
    assert ci is not None
    assert boss is not None
    assert (main.caller, ci.caller) == (Caller(MAIN_TOKEN, sees_all=True), Caller("ci"))
    assert boss.caller == Caller("boss", sees_all=True)
    assert [ci.may(scope) for scope in (Scope.SUBMIT, Scope.READ, Scope.ADMIN)] == [True, False, False]
    assert all(boss.may(scope) for scope in Scope)
    for wrong in ("", "One", "one ", "onetwo", "\udcff", "x" * 100_000):
        assert auth.by_token(wrong) is None
    assert auth.by_header([b"bearer one"]) is ci
    assert auth.by_header([b"Bearer one", b"Bearer one"]) is None
    assert auth.by_header([b"Basic one"]) is None


def test_a_session_is_its_tokens() -> None:
    now = [1000.0]
    auth = Auth("main", parse_tokens("ci:submit:one,cd:submit:two"), clock=lambda: now[0])
    ci = auth.by_token("one")
    assert ci is not None
    value = auth.new_session(ci)

    def session(value: str, of: Auth = auth) -> object:
        return of.by_session([f"other=1; {auth.cookie_name}={value}".encode()])

    assert session(value) is ci
    assert "one" not in value
    _, expires, signature = value.split(".")
    for forged in (f"cd.{expires}.{signature}", f"token.{expires}.{signature}", f"ci.9{expires}.{signature}", "", ".."):
        assert session(forged) is None
    # Another token under the old name: sessions of the old one end. Another main token: it is another cookie.
    assert session(value, Auth("main", parse_tokens("ci:submit:three"))) is None
    assert session(value, Auth("main", ())) is None
    now[0] += SESSION_S
    assert session(value) is None
