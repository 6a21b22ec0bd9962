"""The one table of endpoints. Routes, the guard's rules, /openapi.json and /docs are made from it."""

from __future__ import annotations

from supervisor.api.endpoints.diagnosis import DIAGNOSIS_ENDPOINTS
from supervisor.api.endpoints.files import FILE_ENDPOINTS
from supervisor.api.endpoints.jobs import JOB_ENDPOINTS
from supervisor.api.endpoints.pages import PAGE_ENDPOINTS
from supervisor.api.endpoints.server import SERVER_ENDPOINTS

ENDPOINTS = (*JOB_ENDPOINTS, *DIAGNOSIS_ENDPOINTS, *FILE_ENDPOINTS, *SERVER_ENDPOINTS, *PAGE_ENDPOINTS)
