"""The pages for people: the dashboard, the sign-in page and the API's description. They are rendered once, at start."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

import supervisor
from supervisor.api.docs.event_types import EVENT_TYPES
from supervisor.api.endpoint import Endpoint
from supervisor.api.guard.problems import SHAPES, TYPE_PREFIX

DASHBOARD_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FOLDERS = (("supervisor.api.docs", "templates"), ("supervisor.api", "dashboard"))
_CODE = re.compile(r"`([^`]+)`")
_GROUPS = ("Run", "Look", "Stop", "Server", "Browser")


class Pages:
    """The rendered pages. `document` is the OpenAPI document."""

    def __init__(self, document: dict[str, Any], endpoints: Sequence[Endpoint]) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package, folder) for package, folder in _FOLDERS]),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["prose"] = _prose
        self._environment.filters["type_name"] = _type_name
        self._sign_in = self._render("sign_in.html", "sign_in.js")
        self._dashboard = self._environment.get_template("dashboard.html").render(version=supervisor.__version__)
        self._docs = self._render(
            "docs.html",
            "docs.js",
            groups=[(group, [e for e in endpoints if e.group == group]) for group in _GROUPS],
            document=document,
            schemas=document["components"]["schemas"],
            problems=SHAPES,
            problem_prefix=TYPE_PREFIX,
            event_types=EVENT_TYPES,
        )

    def dashboard(self) -> Response:
        """Return the page at `/`. It needs only the assets and the API."""
        return HTMLResponse(self._dashboard, 200, {"Content-Security-Policy": DASHBOARD_POLICY})

    def sign_in(self) -> Response:
        """Return the 401 for browsers: a page that asks for the token, and then shows the page that was requested."""
        page, policy = self._sign_in
        return HTMLResponse(page, 401, {"Content-Security-Policy": policy, "WWW-Authenticate": "Bearer"})

    def docs(self) -> Response:
        page, policy = self._docs
        return HTMLResponse(page, 200, {"Content-Security-Policy": policy})

    def _render(self, template: str, script: str, **values: Any) -> tuple[str, str]:
        """Return the page, and the policy that allows only its own style and script."""
        sources = [self._source(name) for name in ("style.css", script)]
        page = self._environment.get_template(template).render(
            style=Markup(sources[0]),  # noqa: S704  # our own files
            script=Markup(sources[1]),  # noqa: S704
            version=supervisor.__version__,
            **values,
        )
        style, code = (f"'sha256-{_digest(source)}'" for source in sources)
        policy = (
            f"default-src 'none'; style-src {style}; script-src {code}; connect-src 'self'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return page, policy

    def _source(self, name: str) -> str:
        assert self._environment.loader is not None
        return self._environment.loader.get_source(self._environment, name)[0]


def _digest(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")


def _prose(text: str) -> Markup:
    """Return text with `code` in it as HTML."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped above


def _type_name(schema: dict[str, Any]) -> str:
    """Return a JSON Schema in as few words as fit into a table."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return " | ".join("null" if value is None else str(value).lower() for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type_name(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"array of {_type_name(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type_name(schema['additionalProperties'])}"
    return str(schema.get("type", "any"))
