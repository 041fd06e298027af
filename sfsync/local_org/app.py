"""The client app of a local org, as its administrator has set it up.

Owns:      App, and reading a change of it.
Does not:  sign anybody in (grants).
Invariant: an unknown or wrong key changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlsplit

from sfsync.errors import OrgError

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FLOWS = ("password", "client_credentials", "authorization_code", "refresh_token", JWT_BEARER, "soap")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class App:
    """Settings of the app, its policies and the org's. The defaults let everybody in."""

    flows: tuple[str, ...] = FLOWS  # ways to sign in that are enabled
    approved: bool = True  # the user is pre-authorised: a JWT needs it
    run_as: bool = True  # client credentials have a user
    blocked: bool = False  # by an administrator
    ip_restricted: bool = False  # and the client is outside
    secret_required: bool = False  # of the web server flow and of refreshing
    rotate_refresh_tokens: bool = False  # each refresh gives a new one, and ends the old one
    offline_access: bool = True  # the scope refresh_token is among the app's
    callback_urls: tuple[str, ...] = ()  # none: any address of this machine's loopback

    def takes_callback(self, url: str) -> bool:
        """Whether the browser may be sent there."""
        if self.callback_urls:
            return url in self.callback_urls
        try:
            parts = urlsplit(url)
            return parts.scheme == "http" and parts.hostname in _LOOPBACK and not parts.fragment
        except ValueError:
            return False


def changed(app: App, body: Any) -> App:
    """The app with these settings instead.

    Raises:
        OrgError: not an object of known settings with values of their kinds.
    """
    known = {field.name: getattr(App(), field.name) for field in fields(App)}
    if not isinstance(body, Mapping):
        raise OrgError("the app's settings are an object", fix='for example {"rotate_refresh_tokens": true}')
    given: dict[str, Any] = {}
    for name, value in body.items():
        if name not in known:
            raise OrgError(f"the app has no setting '{name}'", fix=f"it has {', '.join(known)}")
        if isinstance(known[name], bool):
            if not isinstance(value, bool):
                raise OrgError(f"the app's setting '{name}' is true or false")
            given[name] = value
            continue
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise OrgError(f"the app's setting '{name}' is a list of texts")
        if name == "flows" and (strange := [item for item in value if item not in FLOWS]):
            raise OrgError(f"there is no flow '{strange[0]}'", fix=f"the flows are {', '.join(FLOWS)}")
        given[name] = tuple(value)
    return replace(app, **given)
