"""The JSON of a job's input, lease, resources and files."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from urllib.parse import quote

from typing_extensions import TypedDict  # pydantic describes only this one before Python 3.12

from supervisor.api.schemas.encoding import moment, timestamp
from supervisor.core.jobs.model import Resource
from supervisor.core.jobs.stdin import JobStdin
from supervisor.core.streams.leases import Renewed
from supervisor.engine.inspection import FoundFile

_UNKNOWN = "application/octet-stream"

_TABLE = mimetypes.MimeTypes()
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_MORE = {".md": "text/markdown", ".log": "text/plain", ".jsonl": "application/jsonl", ".toml": "application/toml"}
_TEXT = frozenset({"application/json", "application/jsonl", "application/javascript", "application/toml"})


class InputJson(TypedDict):
    """How much of its input the job has not read yet."""

    pending_bytes: int


class LeaseJson(TypedDict):
    """The job is cancelled at `expires_at` unless its lease is renewed before that."""

    lease_s: float
    expires_at: str


class ResourceJson(TypedDict):
    """`action` is the last one: acquired, released by the job, or removed after its end."""

    kind: str
    name: str
    action: str
    acquired_at: str
    released_at: str | None
    removed_at: str | None


class FileJson(TypedDict):
    """`path` is for people, with replacement characters if a name is not UTF-8; `href` always leads to the file."""

    path: str
    size_bytes: int
    content_type: str
    href: str


class FilesJson(TypedDict):
    """`truncated`: there are more files than are listed here."""

    files: list[FileJson]
    truncated: bool


def input_json(typed: JobStdin) -> InputJson:
    return {"pending_bytes": typed.pending_bytes}


def lease_json(renewed: Renewed) -> LeaseJson:
    return {"lease_s": renewed.lease_s, "expires_at": timestamp(renewed.expires_at)}


def resource_json(resource: Resource) -> ResourceJson:
    return {
        "kind": resource.kind,
        "name": resource.name,
        "action": resource.action,
        "acquired_at": timestamp(resource.acquired_at),
        "released_at": moment(resource.released_at),
        "removed_at": moment(resource.removed_at),
    }


def files_json(job_id: str, found: Iterable[FoundFile], *, truncated: bool) -> FilesJson:
    return {
        "files": [
            {
                "path": file.path.decode("utf-8", "replace"),
                "size_bytes": file.size_bytes,
                "content_type": media_type_of(file.path),
                "href": f"/jobs/{job_id}/files/{quote(file.path)}",
            }
            for file in found
        ],
        "truncated": truncated,
    }


def media_type_of(path: bytes) -> str:
    """Return the content type that the file's name suggests. It does not depend on the machine's mime.types.

    Text has a charset: what jobs write is UTF-8, as in their terminals.
    """
    name = path.rpartition(b"/")[2].decode("utf-8", "replace").lower()
    # Not as a URL, in which a name such as "data:x" would mean something else.
    guessed, encoding = _TABLE.guess_type(f"/{name}", strict=True)
    kind = _COMPRESSED.get(encoding, _UNKNOWN) if encoding else guessed or _by_extension(name)
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind in _TEXT else kind


def _by_extension(name: str) -> str:
    return next((kind for extension, kind in _MORE.items() if name.endswith(extension)), _UNKNOWN)
