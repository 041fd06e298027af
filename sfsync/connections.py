"""What one target of profiles.yml may say: a warehouse, an org and how to sign in to it.

Owns:      every key of a target, its default and its range.
Does not:  find or read profiles.yml (profiles), or connect to anything.
Invariant: secrets are SecretStr, so that no text of ours shows them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from sfsync.domains import jwt_audience, login_url, refuse
from sfsync.records import OLDEST_API_VERSION
from sfsync.yaml_models import fault

_SHARED_HOSTS = {"login.salesforce.com", "test.salesforce.com"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def _number(value: Any) -> Any:
    """Whole numbers may come as text, as env_var() gives them."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,12}", value.strip()) else value


def _path(value: Any) -> Any:
    if isinstance(value, str):
        if not value.strip():
            raise fault("must not be blank", fix="remove the key, or name a file")
        return Path(value).expanduser()
    return value


def _database_path(value: Any) -> Any:
    if isinstance(value, str) and (value.startswith((":", "md:")) or "://" in value):
        raise fault("must be a DuckDB file", fix="leave path out to work with seeds alone")
    return _path(value)


def _version(value: Any) -> Any:
    text = f"{value:.1f}" if isinstance(value, int | float) and not isinstance(value, bool) else value
    if isinstance(text, str):
        text = text.removeprefix("v")
        if not re.fullmatch(r"\d{2,3}\.0", text):
            raise fault("must be a version of Salesforce's API", fix='for example "67.0"')
        if float(text) < OLDEST_API_VERSION:
            raise fault(
                f"must be {OLDEST_API_VERSION} or newer: older versions have no upsert of many records in one call",
                fix="leave it out for the newest that the org offers",
            )
    return text


def _keep_free(value: Any) -> Any:
    value = _number(value)
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?\s*%", value):
        value = float(value.rstrip("% ")) / 100
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not whole and not (isinstance(value, float) and 0 <= value <= 1):
        raise fault("must be a number of calls, or a percentage of the org's limit", fix="write 5000 or 25%")
    return value


def _size(value: str) -> str:
    if not re.fullmatch(r"\d{1,7}(\.\d{1,3})?\s*(MB|GB|MiB|GiB)", value):
        raise fault("must be a size such as 2GB", fix="write a number and MB or GB")
    return value


def _blankless(value: str) -> str:
    if not value.strip():
        raise fault("must not be blank")
    return value


def _filled_secret(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise fault("must not be blank", fix="set the environment variable it comes from")
    return value


Text = Annotated[str, AfterValidator(_blankless)]
Secret = Annotated[SecretStr, AfterValidator(_filled_secret)]
File = Annotated[Path, BeforeValidator(_path)]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @property
    def credentials(self) -> dict[str, str]:
        """Who signs in, secrets in clear."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        found = {n: v.get_secret_value() for n, v in values.items() if isinstance(v, SecretStr)}
        return found | {n: values[n] for n in ("client_id", "username") if values.get(n) is not None}


class DuckDBSettings(_Closed):
    """A DuckDB file with models' tables, opened read-only; without a path there are seeds only."""

    type: Literal["duckdb"] = Field(description="A DuckDB file.")
    path: Annotated[Path, BeforeValidator(_database_path)] | None = Field(
        default=None, description="The file."
    )


class PostgresSettings(_Closed):
    """A PostgreSQL database, read in read-only transactions."""

    type: Literal["postgres"] = Field(description="A PostgreSQL server.")
    host: Text = Field(description="Host name, address, or folder of the socket.")
    port: Annotated[int, BeforeValidator(_number), Field(ge=1, le=65535)] = Field(
        default=5432, description="Port."
    )
    dbname: Text = Field(description="Database.")
    user: Text = Field(description="User.")
    password: SecretStr | None = Field(
        default=None, description="Password; left out: .pgpass or the server's trust."
    )
    schema_: Text = Field(default="public", alias="schema", description="Schema of unqualified table names.")
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = Field(
        default=None, description="As libpq means it."
    )
    sslrootcert: File | None = Field(
        default=None, description="Certificate to trust for verify-ca and verify-full."
    )
    connect_timeout: Annotated[int, BeforeValidator(_number), Field(ge=1)] = Field(
        default=10, description="Seconds."
    )


Warehouse = DuckDBSettings | PostgresSettings


class LocalOrg(_Closed):
    """The embedded org: no account needed."""

    type: Literal["local"] = Field(description="The embedded org.")
    schema_: File | None = Field(
        default=None, alias="schema", description="Its objects, a file in the contract's form."
    )


class ApiLimit(_Closed):
    """How much of the org's daily API limit this project may use."""

    daily_calls: Annotated[int, BeforeValidator(_number), Field(ge=1)] | None = Field(
        default=None, description="Calls in any 24 hours; default: a quarter of the org's daily maximum."
    )
    keep_free: Annotated[int | float, BeforeValidator(_keep_free)] = Field(
        default=0.25,
        description="Stop while less is free for everybody else: calls, or a share of the maximum.",
    )


class SalesforceOrg(_Closed):
    """What every way to sign in to a real org shares."""

    type: Literal["salesforce"] = Field(description="A Salesforce org.")
    ca_file: File | None = Field(
        default=None, description="A certificate to trust: proxy, gateway, org emulator."
    )
    api_version: Annotated[str, BeforeValidator(_version)] | None = Field(
        default=None, description=f'"67.0"; from {OLDEST_API_VERSION} on.'
    )
    schema_: File | None = Field(
        default=None,
        alias="schema",
        description="The org's contract, a file that `schema pull` writes; default: schema/<target>.json.",
    )
    api_limit: ApiLimit = Field(default_factory=lambda: ApiLimit(), description="Limits of this project.")

    @property
    def login_url(self) -> str:
        """Where to sign in, an origin without a slash at its end."""
        raise NotImplementedError

    @property
    def settings(self) -> dict[str, str]:
        """What else a sign-in needs; no secret is among it."""
        return {}


class _AppOrg(SalesforceOrg):
    domain: str = Field(description="acme, acme.my, acme.my.salesforce.com, a full URL, login or test.")
    client_id: Text = Field(description="Consumer key of the app.")

    @field_validator("domain")
    @classmethod
    def _check_domain(cls, value: str) -> str:
        try:
            login_url(value)
        except ValueError as error:
            raise fault(
                f"must name the org's domain: {error}",
                fix="for example acme, or https://acme.my.salesforce.com",
            ) from None
        return value

    @property
    def login_url(self) -> str:
        return login_url(self.domain)


class _DomainOrg(_AppOrg):
    client_secret: Secret = Field(description="Its consumer secret.")


class PasswordOrg(_DomainOrg):
    """OAuth user name and password flow."""

    auth: Literal["password"] = Field(description="User name and password.")
    username: Text = Field(description="The user's name.")
    password: Secret = Field(description="The password.")
    security_token: SecretStr = Field(default=SecretStr(""), description="The token glued to the password.")


class ClientCredentialsOrg(_DomainOrg):
    """OAuth client credentials flow: the app's own run-as user."""

    auth: Literal["client_credentials"] = Field(description="The app's own user.")

    @model_validator(mode="after")
    def _check_host(self) -> ClientCredentialsOrg:
        host = urlsplit(self.login_url).hostname
        if host in _SHARED_HOSTS:
            what = f"cannot sign in with client_credentials at {host}: Salesforce offers it on My Domain hosts only"
            raise fault(what, fix="give the org's own domain, for example acme or acme.my.salesforce.com")
        return self


class JwtOrg(_AppOrg):
    """OAuth JWT bearer flow: a certificate instead of a password."""

    auth: Literal["jwt"] = Field(description="A JWT signed by the app's certificate.")
    username: Text = Field(description="The user's name.")
    private_key: Secret | None = Field(
        default=None, description="The private key, PEM; line ends may be written as \\n."
    )
    private_key_file: File | None = Field(default=None, description="Or the file that holds it.")
    audience: str | None = Field(
        default=None, description="login, test or a URL; default: what the domain leads to."
    )

    @field_validator("audience")
    @classmethod
    def _check_audience(cls, value: str | None) -> str | None:
        try:
            return value if value is None else login_url(value)
        except ValueError as error:
            raise fault(f"must be login, test or a URL: {error}", fix="leave it out") from None

    @model_validator(mode="after")
    def _check_key(self) -> JwtOrg:
        if (self.private_key is None) == (self.private_key_file is None):
            raise fault(
                "needs either 'private_key' or 'private_key_file'",
                fix="name the file, or give the key from the environment: private_key: \"{{ env_var('SF_PRIVATE_KEY') }}\"",
            )
        return self

    @property
    def settings(self) -> dict[str, str]:
        found = {"audience": self.audience or jwt_audience(self.login_url)}
        return found | ({"private_key_file": str(self.private_key_file)} if self.private_key_file else {})


class OAuthOrg(_AppOrg):
    """OAuth web server flow: somebody signs in with a browser, by `sfsync login`."""

    auth: Literal["oauth"] = Field(description="Somebody signs in with a browser: `sfsync login`.")
    client_secret: Secret | None = Field(
        default=None, description="Its consumer secret, if the app demands it."
    )
    username: Text | None = Field(default=None, description="The only user who may sign in.")
    callback_url: str = Field(
        default="http://localhost:1717/OauthRedirect",
        description="Where the browser comes back to; one of the app's callback URLs, on this machine.",
    )

    @field_validator("callback_url")
    @classmethod
    def _check_callback(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            ours = parts.scheme == "http" and parts.hostname in _LOOPBACK and parts.port
        except ValueError:
            ours = None
        if not ours or parts.query or parts.fragment or parts.username is not None:
            raise fault(
                "must be an http URL of this machine with a port",
                fix="for example http://localhost:1717/OauthRedirect, as it stands in the app's callback URLs",
            )
        return value

    @property
    def settings(self) -> dict[str, str]:
        return {"callback_url": self.callback_url}


class RefreshTokenOrg(_AppOrg):
    """OAuth refresh token flow: a login that was made elsewhere."""

    auth: Literal["refresh_token"] = Field(description="A refresh token from elsewhere.")
    refresh_token: Secret = Field(description="The token.")
    client_secret: Secret | None = Field(
        default=None, description="Its consumer secret, if the app demands it."
    )


class AccessTokenOrg(SalesforceOrg):
    """A session somebody else signed in."""

    auth: Literal["access_token"] = Field(description="A token from elsewhere.")
    instance_url: str = Field(description="https://acme.my.salesforce.com, as the token's answer named it.")
    access_token: Secret = Field(description="The token.")

    @field_validator("instance_url")
    @classmethod
    def _check_instance(cls, value: str) -> str:
        try:
            return login_url(value) if "://" in value else refuse("it is not a URL")
        except ValueError as error:
            raise fault(
                f"must be the org's address: {error}", fix="for example https://acme.my.salesforce.com"
            ) from None

    @property
    def login_url(self) -> str:
        return self.instance_url


class SfCliOrg(SalesforceOrg):
    """A login of Salesforce's own CLI."""

    auth: Literal["sf_cli"] = Field(description="A login of the `sf` CLI on this machine.")
    target_org: Text = Field(description="Alias or user name, as `sf org list` shows it.")

    @field_validator("target_org")
    @classmethod
    def _check_target(cls, value: str) -> str:
        if value.startswith("-"):
            raise fault("must be an alias or a user name", fix="`sf org list` shows them")
        return value

    @property
    def login_url(self) -> str:
        return f"sf:{self.target_org}"  # the CLI knows the address

    @property
    def settings(self) -> dict[str, str]:
        return {"target_org": self.target_org}


Org = (
    LocalOrg
    | PasswordOrg
    | ClientCredentialsOrg
    | JwtOrg
    | OAuthOrg
    | RefreshTokenOrg
    | AccessTokenOrg
    | SfCliOrg
)

WAREHOUSES: dict[str, type[BaseModel]] = {"duckdb": DuckDBSettings, "postgres": PostgresSettings}
SIGN_INS: dict[str, type[BaseModel]] = {
    "password": PasswordOrg,
    "client_credentials": ClientCredentialsOrg,
    "jwt": JwtOrg,
    "oauth": OAuthOrg,
    "refresh_token": RefreshTokenOrg,
    "access_token": AccessTokenOrg,
    "sf_cli": SfCliOrg,
}


class Output(_Closed):
    """The keys of one target."""

    warehouse: dict[str, Any]  # one of WAREHOUSES
    org: dict[str, Any]  # local, or one of SIGN_INS
    threads: Annotated[int, BeforeValidator(_number), Field(ge=1, le=32)] = 4
    memory_limit: Annotated[str, AfterValidator(_size)] | None = None  # of the run's own DuckDB
