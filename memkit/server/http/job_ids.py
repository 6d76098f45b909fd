"""Ids of jobs as a key is given them: signed, so that no other key can ask for the job.

A job forgets whose records it trained once it is over, so the ledger cannot tell whose it is. The
signature can, on every server that reads the same key file.
"""

from __future__ import annotations

import hashlib
import hmac

from memkit.server.http.api_keys import ApiKey
from memkit.server.http.error_bodies import ApiError


def signed_id(key: ApiKey, id: str) -> str:
    """Give the id of a job as a key is told it."""
    return f"{id}-{_signature(key, id)}"


def job_id(key: ApiKey, signed: str) -> str:
    """Give the id of a job that a key was told of.

    Raises:
        ApiError: If it was not.
    """
    id, _, signature = signed.rpartition("-")
    if not hmac.compare_digest(signature.encode(), _signature(key, id).encode()):
        raise unknown_job()
    return id


def unknown_job() -> ApiError:
    """Say that a key has no such job."""
    return ApiError(404, "no consolidation of this key has this id", code="not_found")


def _signature(key: ApiKey, id: str) -> str:
    return hmac.digest(key.sha256.encode(), id.encode(), hashlib.sha256).hex()
