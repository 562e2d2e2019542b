"""Error messages for a registry's error responses: its own message, the repository, and a hint.

Spec: distribution-spec, "Error Codes". The registry's message is untrusted: it is truncated and put on one line.
"""

from __future__ import annotations

from pyruntime.errors import ConfigError, RegistryError
from pyruntime.images.registry.retry import AttemptFailed, asked_wait, is_transient
from pyruntime.images.registry.url import printable
from pyruntime.system.json import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.registry.http import Response
    from pyruntime.images.registry.settings import RegistryEndpoint

_MAX_ERROR = 1 << 16
_HINTS = {
    401: "it does not exist, or needs a login",
    403: "it does not exist, or this user has no permission",
    404: "it does not exist, or needs a login",
    413: "it is too large for this registry",
}


def codes(raw: bytes) -> list[tuple[str, str]]:
    """Code and message of each error in a body; empty if the body is something else."""
    try:
        document = decode(raw, "answer")
    except ConfigError:   # an HTML page of a proxy, for example
        return []
    errors = document.get("errors") if isinstance(document, dict) else None
    found = []
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, dict):
            message, detail = error.get("message"), error.get("detail")
            text = message or (detail if isinstance(detail, str) else "")
            found.append((printable(str(error.get("code", "")), 60), printable(str(text or ""))))
    return found


def words(response: Response) -> str:
    """The registry's message, with the status: ``DENIED: access denied (HTTP 403)``. Reads and closes the response."""
    try:
        raw = response.document(_MAX_ERROR)
    except RegistryError:   # the status is known; an incomplete or endless body adds nothing
        raw = b""
    said = "; ".join(f"{code}: {message}" if code and message else code or message for code, message in codes(raw))
    return f"{said} (HTTP {response.status})" if said else f"HTTP {response.status}"


def refusal(response: Response, what: str, endpoint: RegistryEndpoint) -> AttemptFailed:
    """The error for a response. ``what`` is the request, for example ``manifest "3.19"``."""
    limit, left = response.header("RateLimit-Limit"), response.header("RateLimit-Remaining")
    said = words(response)
    hint = _HINTS.get(response.status, "")
    if response.status == 429:
        hint = "too many requests; log in for a higher limit, or use a mirror"
        if limit or left:
            hint += f" (limit {printable(limit, 40) or '?'}, remaining {printable(left, 40) or '?'})"
    return AttemptFailed(f'"{endpoint.name}": {what}: {said}{"; " if hint else ""}{hint}', response.status,
                         transient=is_transient(response.status), asked=asked_wait(response))
