"""A way to this machine for clients in which Salesforce's hosts are wired."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter


class LedTo(HTTPAdapter):
    """As a DNS entry would: whatever *.salesforce.com is asked for, this org answers."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.place = urlsplit(url).netloc

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        parts = urlsplit(str(request.url))
        if str(parts.hostname).endswith(".salesforce.com"):
            request.url = parts._replace(netloc=self.place).geturl()
        return super().send(request, *args, **kwargs)
