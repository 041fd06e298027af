"""profiles.yml: where it is found, what its environment gives, what is said about mistakes, and that secrets stay secret."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from sfsync.connections import (
    AccessTokenOrg,
    ApiLimit,
    ClientCredentialsOrg,
    DuckDBSettings,
    JwtOrg,
    LocalOrg,
    OAuthOrg,
    PasswordOrg,
    PostgresSettings,
    RefreshTokenOrg,
    SfCliOrg,
)
from sfsync.domains import jwt_audience, login_url
from sfsync.errors import ProfileError, scrub
from sfsync.profiles import load_profile

PROFILES = """\
acme:
  target: dev
  outputs:
    dev:
      warehouse: {type: duckdb, path: data/acme.duckdb}
      org: {type: local}
    prod:
      warehouse:
        type: postgres
        host: db.example.com
        port: "{{ env_var('PGPORT', 5432) }}"
        dbname: acme
        user: sync
        password: "{{ env_var('PGPASSWORD') }}"
        sslmode: verify-full
        sslrootcert: certs/pg.pem
      org:
        type: salesforce
        domain: acme
        ca_file: certs/gateway.pem
        auth: client_credentials
        client_id: "{{ env_var('SF_CLIENT_ID') }}"
        client_secret: "{{ env_var('SF_CLIENT_SECRET') }}"
        api_version: "67.0"
        api_limit: {daily_calls: 20000, keep_free: 25%}
      threads: 8
"""
ENV = {
    "PGPASSWORD": "pg-hush-1",
    "SF_CLIENT_ID": "3MVG9",
    "SF_CLIENT_SECRET": "sf-hush-2",
    "HOME": "/nowhere",
}


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profiles.yml").write_text(text, encoding="utf-8")
    return folder


def output(text: str) -> str:
    """A profiles.yml with one target `t` of these lines."""
    return "acme:\n  outputs:\n    t:\n" + "".join(f"      {line}\n" for line in text.splitlines())


def findings(folder: Path, **options) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        load_profile(folder, options.pop("name", "acme"), env=options.pop("env", ENV), **options)
    return [str(e) + (f" | {e.fix}" if e.fix else "") for e in (caught.value, *caught.value.others)]


def test_the_default_target_needs_no_environment(tmp_path):
    profile = load_profile(write(tmp_path, PROFILES), "acme", env={})
    assert profile.target == "dev"
    assert profile.warehouse == DuckDBSettings(type="duckdb", path=tmp_path / "data/acme.duckdb")
    assert profile.org == LocalOrg(type="local")
    assert (profile.threads, profile.memory_limit) == (4, None)
    assert profile.path == tmp_path / "profiles.yml"
    assert str(profile.where("org", "type")) == "profiles.yml:6:13"


def test_a_real_target(tmp_path):
    profile = load_profile(write(tmp_path, PROFILES), "acme", target="prod", env=ENV)
    warehouse, org = profile.warehouse, profile.org
    assert isinstance(warehouse, PostgresSettings)
    assert isinstance(org, ClientCredentialsOrg)
    assert (warehouse.port, warehouse.schema_, warehouse.sslmode) == (5432, "public", "verify-full")
    assert warehouse.sslrootcert == tmp_path / "certs/pg.pem"
    assert warehouse.password is not None
    assert warehouse.password.get_secret_value() == "pg-hush-1"
    assert org.login_url == "https://acme.my.salesforce.com"
    assert org.ca_file == tmp_path / "certs/gateway.pem"
    assert (org.client_id, org.client_secret.get_secret_value()) == ("3MVG9", "sf-hush-2")
    assert (org.api_version, org.api_limit) == ("67.0", ApiLimit(daily_calls=20000, keep_free=0.25))
    assert profile.threads == 8


def test_the_search_order(tmp_path):
    def folder(name: str) -> Path:
        return tmp_path / name

    for name in ("flag", "variable", "project", "home/.sfsync"):
        write(folder(name), output(f"warehouse: {{type: duckdb, path: /{name}.db}}\norg: {{type: local}}"))
    env = {"SFSYNC_PROFILES_DIR": str(folder("variable")), "HOME": str(folder("home"))}

    def found(flag: bool) -> Path:
        profile = load_profile(
            folder("project"), "acme", profiles_dir=folder("flag") if flag else None, env=env
        )
        assert isinstance(profile.warehouse, DuckDBSettings)
        assert profile.warehouse.path is not None
        return profile.warehouse.path

    assert found(flag=True) == Path("/flag.db")
    assert found(flag=False) == Path("/variable.db")
    del env["SFSYNC_PROFILES_DIR"]
    assert found(flag=False) == Path("/project.db")
    (folder("project") / "profiles.yml").unlink()
    assert found(flag=False) == Path("/home/.sfsync.db")
    (folder("home") / ".sfsync" / "profiles.yml").unlink()
    assert findings(folder("project"), env=env) == [
        f"no profiles.yml in {folder('project')} or {folder('home')}/.sfsync | "
        "write one, or name its folder with --profiles-dir or SFSYNC_PROFILES_DIR"
    ]


def test_a_named_folder_without_the_file_is_not_passed_over(tmp_path):
    write(tmp_path, PROFILES)
    gone = tmp_path / "gone"
    assert findings(tmp_path, profiles_dir=gone) == [
        f"no profiles.yml in {gone}, the folder of --profiles-dir | check --profiles-dir"
    ]
    assert findings(tmp_path, env=ENV | {"SFSYNC_PROFILES_DIR": str(gone)}) == [
        f"no profiles.yml in {gone}, the folder of SFSYNC_PROFILES_DIR | check SFSYNC_PROFILES_DIR"
    ]


def test_paths_are_relative_to_the_project_not_to_the_profile(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path / "profiles", PROFILES))
    profile = load_profile(tmp_path / "acme", "acme", profiles_dir=Path(), env=ENV)
    assert isinstance(profile.warehouse, DuckDBSettings)
    assert profile.warehouse.path == tmp_path / "acme/data/acme.duckdb"


LOCAL = "org: {type: local}\n"
DUCK = "warehouse: {type: duckdb}\n"
SALES = (
    DUCK + "org: {type: salesforce, domain: acme, auth: client_credentials, client_id: a, client_secret: bbbb"
)
JWT = DUCK + "org: {type: salesforce, domain: acme, auth: jwt, client_id: a, username: u"
TOP = [  # the whole file, options, findings
    (PROFILES, {"name": "acm"}, ["profiles.yml: the profile 'acm', which sfsync_project.yml names, does not exist | "
        "did you mean 'acme'?"]),
    (PROFILES, {"target": "prd"}, ["profiles.yml: profile 'acme' has no target 'prd' | did you mean 'prod'?"]),
    (PROFILES, {"target": "x"}, ["profiles.yml: profile 'acme' has no target 'x' | targets there: dev, prod"]),
    (PROFILES.replace("target: dev", "target: de"), {}, ["profiles.yml:2:11: profile 'acme' has no target 'de' | "
        "did you mean 'dev'?"]),
    (PROFILES.replace("  target: dev\n", ""), {}, ["profiles.yml:1:1: profile 'acme' does not say which target to use | "
        "add target: with one of dev, prod, or give --target"]),
    (PROFILES.replace("target:", "targt:"), {}, ["profiles.yml:2:3: profile 'acme': unknown key 'targt' | "
        "did you mean 'target'?"]),
    ("acme:\n  outputs: {../x: {}}", {}, ["profiles.yml:2:3: profile 'acme': '../x' cannot be a target's name | "
        "letters, digits, _ and - only, 60 characters at most"]),
    (PROFILES, {"target": "../dev"}, ["profiles.yml: profile 'acme': '../dev' cannot be a target's name | "
        "letters, digits, _ and - only, 60 characters at most"]),
    ("", {}, ["profiles.yml: profiles.yml must be a map of profiles, found nothing"]),
    ("- a", {}, ["profiles.yml:1:1: profiles.yml must be a map of profiles, found a list"]),
    ("acme: 5", {}, ["profiles.yml:1:1: the profile 'acme' must be a map with 'target' and 'outputs', found a number"]),
    ("acme: {target: x}", {}, ["profiles.yml:1:1: profile 'acme': 'outputs' must be a map with at least one target"]),
    ("acme:\n  outputs: {t: 5}", {}, ["profiles.yml:2:16: target 't' must be a map of keys, found a number"]),
    ("acme: [", {}, ["profiles.yml:2:1: this [ or { is not closed, or a comma is missing | close it"]),
    (PROFILES, {"target": "prod", "env": {}}, ["profiles.yml:14:19: the environment variable PGPASSWORD is not set | "
        "set PGPASSWORD, or give a default: env_var('PGPASSWORD', '...')"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "options", "expected"), TOP, ids=[t[2][0] for t in TOP])
def test_findings_of_the_file(tmp_path, text, options, expected):
    assert findings(write(tmp_path, text), **options) == expected


OUTPUTS = [  # the lines of a target, findings
    (DUCK + LOCAL + "state: {in: warehouse}", ["profiles.yml:6:7: target 't': unknown key 'state' | "
        "valid keys: warehouse, org, threads, memory_limit"]),
    (LOCAL, ["profiles.yml:3:5: target 't' needs the key 'warehouse'"]),
    (DUCK, ["profiles.yml:3:5: target 't' needs the key 'org'"]),
    (DUCK + LOCAL + "threads: 0", ["profiles.yml:6:16: target 't': 'threads' must be 1 or more, found 0"]),
    (DUCK + LOCAL + "threads: 99", ["profiles.yml:6:16: target 't': 'threads' must be 32 or less, found 99"]),
    (DUCK + LOCAL + "threads: many",
        ["profiles.yml:6:16: target 't': 'threads' must be a whole number, found 'many'"]),
    (DUCK + LOCAL + "memory_limit: much", ["profiles.yml:6:21: target 't': 'memory_limit' must be a size such as "
        "2GB, found 'much' | write a number and MB or GB"]),
    ("warehouse: {type: snowflake}\n" + LOCAL,
        ["profiles.yml:4:25: target 't': warehouse: 'type' must be one of duckdb, postgres, found 'snowflake'"]),
    ("warehouse: {path: x}\n" + LOCAL,
        ["profiles.yml:4:7: target 't': warehouse needs the key 'type' | one of duckdb, postgres"]),
    ("warehouse: {type: duckdb, pth: x}\n" + LOCAL,
        ["profiles.yml:4:33: target 't': warehouse: unknown key 'pth' | did you mean 'path'?"]),
    ("warehouse: {type: duckdb, path: ':memory:'}\n" + LOCAL,
        ["profiles.yml:4:39: target 't': warehouse: 'path' must be a DuckDB file, found ':memory:' | "
        "leave path out to work with seeds alone"]),
    ("warehouse: {type: duckdb, path: 'md:x'}\n" + LOCAL,
        ["profiles.yml:4:39: target 't': warehouse: 'path' must be a DuckDB file, found 'md:x' | "
        "leave path out to work with seeds alone"]),
    ("warehouse: {type: postgres, host: h, dbname: d, user: u, port: 70000}\n" + LOCAL,
        ["profiles.yml:4:70: target 't': warehouse: 'port' must be 65535 or less, found 70000"]),
    ("warehouse: {type: postgres, host: '', dbname: d, user: u, sslmode: on}\n" + LOCAL,
        ["profiles.yml:4:41: target 't': warehouse: 'host' must not be blank, found ''",
        "profiles.yml:4:74: target 't': warehouse: 'sslmode' must be one of disable, allow, prefer, require, "
        "verify-ca, verify-full, found 'on'"]),
    ("warehouse: {type: postgres}\n" + LOCAL, [
        "profiles.yml:4:7: target 't': warehouse needs the key 'host'",
        "profiles.yml:4:7: target 't': warehouse needs the key 'dbname'",
        "profiles.yml:4:7: target 't': warehouse needs the key 'user'"]),
    (DUCK + "org: {type: sandbox}",
        ["profiles.yml:5:19: target 't': org: 'type' must be one of local, salesforce, found 'sandbox'"]),
    (DUCK + "org: {type: local, domain: x}",
        ["profiles.yml:5:26: target 't': org: unknown key 'domain' | valid keys: type, schema"]),
    (DUCK + "org: {type: salesforce, domain: acme}", ["profiles.yml:5:7: target 't': org needs the key 'auth' | "
        "one of password, client_credentials, jwt, oauth, refresh_token, access_token, sf_cli"]),
    (DUCK + "org: {type: salesforce, domain: acme, auth: saml}", ["profiles.yml:5:51: target 't': org: 'auth' must be "
        "one of password, client_credentials, jwt, oauth, refresh_token, access_token, sf_cli, found 'saml'"]),
    (JWT + "}", ["profiles.yml:5:12: target 't': org needs either 'private_key' or 'private_key_file' | name the file, or "
        "give the key from the environment: private_key: \"{{ env_var('SF_PRIVATE_KEY') }}\""]),
    (JWT + ", private_key: abcd, private_key_file: k.pem}", ["profiles.yml:5:12: target 't': org needs either "
        "'private_key' or 'private_key_file' | name the file, or give the key from the environment: private_key: "
        "\"{{ env_var('SF_PRIVATE_KEY') }}\""]),
    (JWT + ", private_key: abcd, client_secret: abcd}", ["profiles.yml:5:102: target 't': org: unknown key "
        "'client_secret' | did you mean 'client_id'?"]),
    (JWT + ", private_key: abcd, audience: 'http://x'}", ["profiles.yml:5:112: target 't': org: 'audience' must be "
        "login, test or a URL: it must use https, found 'http://x' | leave it out"]),
    *[
        (DUCK + f"org: {{type: salesforce, domain: acme, auth: oauth, client_id: a, callback_url: '{url}'}}",
            ["profiles.yml:5:86: target 't': org: 'callback_url' must be an http URL of this machine with a port, found "
            f"'{url}' | for example http://localhost:1717/OauthRedirect, as it stands in the app's callback URLs"])
        for url in ("https://localhost:1717/x", "http://example.com:1717/", "http://localhost/x", "http://localhost:x/",
            "http://localhost:1717/?a=1", "http://u@localhost:1717/")
    ],
    (DUCK + "org: {type: salesforce, auth: sf_cli, target_org: '--help'}", ["profiles.yml:5:57: target 't': org: "
        "'target_org' must be an alias or a user name, found '--help' | `sf org list` shows them"]),
    (DUCK + "org: {type: salesforce, domain: login, auth: refresh_token, client_id: a}",
        ["profiles.yml:5:7: target 't': org needs the key 'refresh_token'"]),
    (DUCK + "org: {type: salesforce, domain: acme, auth: client_credential, client_id: a}",
        ["profiles.yml:5:51: target 't': org: 'auth' must be one of password, client_credentials, jwt, "
        "oauth, refresh_token, access_token, sf_cli, found 'client_credential' | did you mean 'client_credentials'?"]),
    (SALES.replace("acme", "login") + "}", ["profiles.yml:5:12: target 't': org cannot sign in with "
        "client_credentials at login.salesforce.com: Salesforce offers it on My Domain hosts only | "
        "give the org's own domain, for example acme or acme.my.salesforce.com"]),
    (SALES.replace("acme", "'https://test.salesforce.com/'") + "}", ["profiles.yml:5:12: target 't': org cannot sign "
        "in with client_credentials at test.salesforce.com: Salesforce offers it on My Domain hosts only | "
        "give the org's own domain, for example acme or acme.my.salesforce.com"]),
    (SALES.replace("acme", "'http://acme.my.salesforce.com'") + "}", ["profiles.yml:5:39: target 't': org: 'domain' "
        "must name the org's domain: it must use https, found 'http://acme.my.salesforce.com' | "
        "for example acme, or https://acme.my.salesforce.com"]),
    (SALES + ", username: x}", ["profiles.yml:5:106: target 't': org: unknown key 'username' | valid keys: type, "
        "ca_file, api_version, schema, api_limit, domain, client_id, client_secret, auth"]),
    (SALES + ", api_version: 67}", None),
    (SALES + ", api_version: v67.0}", None),
    (SALES + ", api_version: 46}", None),
    (SALES + ", api_version: '45.0'}", ["profiles.yml:5:119: target 't': org: 'api_version' must be 46.0 or newer: older "
        "versions have no upsert of many records in one call, found '45.0' | "
        "leave it out for the newest that the org offers"]),
    (SALES + ", api_version: latest}", ["profiles.yml:5:119: target 't': org: 'api_version' must be a version of "
        "Salesforce's API, found 'latest' | for example \"67.0\""]),
    (SALES + ", api_limit: {keep_free: 500}}", None),
    (SALES + ", api_limit: {keep_free: lots}}", ["profiles.yml:5:129: target 't': org: 'api_limit.keep_free' must be "
        "a number of calls, or a percentage of the org's limit, found 'lots' | write 5000 or 25%"]),
    (SALES + ", api_limit: {keep_free: 150%}}", ["profiles.yml:5:129: target 't': org: 'api_limit.keep_free' must be "
        "a number of calls, or a percentage of the org's limit, found '150%' | write 5000 or 25%"]),
    (SALES + ", api_limit: {daily_calls: 0}}",
        ["profiles.yml:5:131: target 't': org: 'api_limit.daily_calls' must be 1 or more, found 0"]),
    (SALES + ", ca_file: ''}", ["profiles.yml:5:115: target 't': org: 'ca_file' must not be blank, found '' | "
        "remove the key, or name a file"]),
    (DUCK + "org: {type: salesforce, auth: access_token, access_token: abcd, instance_url: acme}",
        ["profiles.yml:5:85: target 't': org: 'instance_url' must be the org's address: it is not a URL, found 'acme' "
        "| for example https://acme.my.salesforce.com"]),
    (DUCK + "org: {type: salesforce, auth: access_token, access_token: abcd, instance_url: 'https://x.my.salesforce.com',"
        " domain: x}", ["profiles.yml:5:116: target 't': org: unknown key 'domain' | valid keys: type, ca_file, "
        "api_version, schema, api_limit, auth, instance_url, access_token"]),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), OUTPUTS, ids=[o[0] for o in OUTPUTS])
def test_findings_of_a_target(tmp_path, lines, expected):
    write(tmp_path, output(lines))
    if expected is None:
        assert load_profile(tmp_path, "acme", env=ENV).target == "t"
    else:
        assert findings(tmp_path) == expected


RENDERED = [  # the value of `path`, environment, variables, the path or the finding
    ("{{ env_var('A') }}", {"A": "x"}, {}, "x"),
    ("data/{{ env_var('A') }}.duckdb", {"A": "x"}, {}, "data/x.duckdb"),
    ("{{ env_var('A', 'y') }}", {}, {}, "y"),
    ("{{ env_var('A', 'y') }}", {"A": "x"}, {}, "x"),
    ("{{ var('a') }}", {}, {"a": "z"}, "z"),
    ("{{ var('a', 'd') }}", {}, {}, "d"),
    ("{% if env_var('A') == '1' %}p{% else %}q{% endif %}", {"A": "1"}, {}, "p"),
    ("{{ env_var('A') | lower }}", {"A": "ABC"}, {}, "abc"),
    ("{{ env_var('A') }}", {}, {}, "the environment variable A is not set"),
    ("{{ var('abc') }}", {}, {"abd": "1"}, "the variable 'abc' is not set"),
    ("{{ ref('a') }}", {}, {}, "cannot render the value: 'ref' is undefined"),
    ("{{ env_var('A' }}", {}, {}, "cannot render the value: unexpected '}', expected ')'"),
    ("{{ env_var() }}", {}, {}, "cannot render the value: TypeError"),
    ("{{ ''.__class__.__mro__ }}", {}, {}, "cannot render the value: access to attribute '__class__' of 'str' object "
        "is unsafe."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "env", "variables", "expected"), RENDERED, ids=[r[0] for r in RENDERED])
def test_values_are_rendered(tmp_path, text, env, variables, expected):
    write(tmp_path, output(f'warehouse: {{type: duckdb, path: "{text}"}}\n{LOCAL}'))
    if "not set" in expected or "cannot" in expected:
        assert (
            findings(tmp_path, env=env, vars=variables)[0].partition(" | ")[0]
            == f"profiles.yml:4:39: {expected}"
        )
    else:
        profile = load_profile(tmp_path, "acme", env=env, vars=variables)
        assert isinstance(profile.warehouse, DuckDBSettings)
        assert profile.warehouse.path == tmp_path / expected


def test_the_target_may_come_from_the_environment(tmp_path):
    text = PROFILES.replace("target: dev", "target: \"{{ env_var('T', 'dev') }}\"")
    write(tmp_path, text)
    assert load_profile(tmp_path, "acme", env=ENV).target == "dev"
    assert load_profile(tmp_path, "acme", env=ENV | {"T": "prod"}).target == "prod"


SIGN_INS = [  # lines of the org, its class
    ("auth: password, username: u, password: pppp, security_token: tttt, domain: login, client_id: c, "
        "client_secret: ssss", PasswordOrg),
    ("auth: password, username: u, password: pppp, domain: test, client_id: c, client_secret: ssss", PasswordOrg),
    ("auth: client_credentials, domain: acme, client_id: c, client_secret: ssss", ClientCredentialsOrg),
    ("auth: jwt, domain: acme, client_id: c, username: u, private_key_file: k.pem", JwtOrg),
    ("auth: jwt, domain: test, client_id: c, username: u, private_key: pppp, audience: test", JwtOrg),
    ("auth: refresh_token, domain: login, client_id: c, refresh_token: rrrr", RefreshTokenOrg),
    ("auth: oauth, domain: login, client_id: c", OAuthOrg),
    ("auth: sf_cli, target_org: dev", SfCliOrg),
    ("auth: oauth, domain: login, client_id: c, client_secret: ssss, username: u, callback_url: 'http://[::1]:8/c'", OAuthOrg),
    ("auth: refresh_token, domain: login, client_id: c, refresh_token: rrrr, client_secret: ssss", RefreshTokenOrg),
    ("auth: access_token, instance_url: 'https://127.0.0.1:8443/', access_token: aaaa", AccessTokenOrg),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "expected"), SIGN_INS, ids=[s[0] for s in SIGN_INS])
def test_every_way_to_sign_in(tmp_path, keys, expected):
    write(tmp_path, output(DUCK + f"org: {{type: salesforce, {keys}}}"))
    org = load_profile(tmp_path, "acme", env=ENV).org
    assert type(org) is expected
    if isinstance(org, AccessTokenOrg):
        assert org.login_url == org.instance_url == "https://127.0.0.1:8443"


DOMAINS = [  # written, origin or why not
    ("acme", "https://acme.my.salesforce.com"),
    ("ACME", "https://acme.my.salesforce.com"),
    (" acme ", "https://acme.my.salesforce.com"),
    ("acme.my", "https://acme.my.salesforce.com"),
    ("acme.my.salesforce.com", "https://acme.my.salesforce.com"),
    ("acme.my.salesforce.com/", "https://acme.my.salesforce.com"),
    ("https://acme.my.salesforce.com", "https://acme.my.salesforce.com"),
    ("https://acme.my.salesforce.com/lightning/o/Account", "https://acme.my.salesforce.com"),
    ("HTTPS://Acme.My.Salesforce.com:443/", "https://acme.my.salesforce.com"),
    ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
    ("127.0.0.1:8443", "https://127.0.0.1:8443"),
    ("https://localhost:8443/", "https://localhost:8443"),
    ("https://[::1]:8443", "https://[::1]:8443"),
    ("acme.lightning.force.com", "https://acme.my.salesforce.com"),
    ("https://acme.lightning.force.com/lightning/page/home", "https://acme.my.salesforce.com"),
    ("acme--uat.sandbox.lightning.force.com", "https://acme--uat.sandbox.my.salesforce.com"),
    ("acme--uat.sandbox.my.salesforce.com", "https://acme--uat.sandbox.my.salesforce.com"),
    ("acme--uat.sandbox.my", "https://acme--uat.sandbox.my.salesforce.com"),
    ("acme--uat.sandbox", "https://acme--uat.sandbox.my.salesforce.com"),
    ("acme--uat", "https://acme--uat.sandbox.my.salesforce.com"),
    ("acme-dev-ed.develop", "https://acme-dev-ed.develop.my.salesforce.com"),
    ("acme-dev-ed.develop.lightning.force.com", "https://acme-dev-ed.develop.my.salesforce.com"),
    ("acme.my.salesforce-setup.com", "https://acme.my.salesforce.com"),
    ("login", "https://login.salesforce.com"),
    ("test", "https://test.salesforce.com"),
    ("login.salesforce.com", "https://login.salesforce.com"),
    ("https://test.salesforce.com/", "https://test.salesforce.com"),
    ("gateway.example.com:9443", "https://gateway.example.com:9443"),
    ("http://acme.my.salesforce.com", "it must use https"),
    ("ftp://acme", "it must use https"),
    ("https://user:pw@acme.my.salesforce.com", "it must not hold a user or a password"),
    ("", "it is not a host name"),
    ("https://", "it is not a host name"),
    ("acme corp", "it is not a host name"),
    ("-acme", "it is not a host name"),
    ("acme..my", "it is not a host name"),
    ("acme:port", "it is not an address"),
    ("https://[::1", "it is not an address"),
]


@pytest.mark.parametrize(("written", "expected"), DOMAINS, ids=[d[0] or "blank" for d in DOMAINS])
def test_login_url(written, expected):
    if expected.startswith("https://"):
        assert login_url(written) == expected
        assert login_url(expected) == expected
    else:
        with pytest.raises(ValueError, match=f"^{expected}$"):
            login_url(written)


AUDIENCES = [  # login address, whom a JWT is for
    ("https://login.salesforce.com", "https://login.salesforce.com"),
    ("https://test.salesforce.com", "https://test.salesforce.com"),
    ("https://acme.my.salesforce.com", "https://login.salesforce.com"),
    ("https://acme-dev-ed.develop.my.salesforce.com", "https://login.salesforce.com"),
    ("https://acme--uat.sandbox.my.salesforce.com", "https://test.salesforce.com"),
    ("https://acme--uat.my.salesforce.com", "https://test.salesforce.com"),
    ("https://agile-dance-1.scratch.my.salesforce.com", "https://test.salesforce.com"),
    ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
    ("https://sandbox.example.com", "https://sandbox.example.com"),
]


@pytest.mark.parametrize(("login", "audience"), AUDIENCES)
def test_whom_a_jwt_is_for(login, audience):
    assert jwt_audience(login) == audience


def test_what_a_jwt_needs_is_known_without_its_key(tmp_path):
    write(
        tmp_path,
        output(JWT.replace("acme", "acme--uat") + ", private_key_file: keys/k.pem, audience: login}"),
    )
    org = load_profile(tmp_path, "acme", env=ENV).org
    assert isinstance(org, JwtOrg)
    assert org.settings == {
        "audience": "https://login.salesforce.com",
        "private_key_file": str(tmp_path / "keys/k.pem"),
    }
    assert org.credentials == {"client_id": "a", "username": "u"}


KEEP_FREE = [(5000, 5000), ("10%", 0.1), ("33.3%", 0.333), (0, 0), (1, 1), (1.0, 1.0), (0.5, 0.5), ("5", 5)]


@pytest.mark.parametrize(("written", "expected"), KEEP_FREE)
def test_keep_free_is_calls_or_a_share(written, expected):
    found = ApiLimit.model_validate({"keep_free": written}).keep_free
    assert found == pytest.approx(expected)
    assert type(found) is type(expected)


SECRET = "hush-Zx81-secret"
LEAKS = [  # lines of a target with a mistake beside, or in, a secret
    "warehouse: {type: postgres, host: \"{{ env_var('"
    + SECRET
    + "') }}\", password: "
    + SECRET
    + "}\n"
    + LOCAL,
    f"warehouse: {{type: postgres, host: h, dbname: d, user: u, password: {SECRET}, prt: 1}}\n{LOCAL}",
    f"warehouse: {{type: postgres, host: h, dbname: d, user: u, password: [{SECRET}]}}\n{LOCAL}",
    f"warehouse: {{type: postgres, host: '{SECRET}', password: {SECRET}, dbname: d, user: 5}}\n{LOCAL}",
    SALES.replace("bbbb", SECRET).replace("acme", f"'http://{SECRET}'") + "}",
    SALES.replace("bbbb", SECRET).replace("client_credentials", SECRET) + "}",
    SALES.replace("bbbb", "\"{{ env_var('S') }}\"").replace("acme", "\"{{ env_var('S') }} x\"") + "}",
    SALES.replace("bbbb", "{{{{ env_var('S') }}}}").replace("a,", f"{SECRET},", 1),
]


@pytest.mark.parametrize("lines", LEAKS)
def test_no_error_shows_a_secret(tmp_path, monkeypatch, lines):
    write(tmp_path, output(lines))
    monkeypatch.setattr("sfsync.errors._SECRETS", set())  # what another case registered
    with pytest.raises(ProfileError) as caught:
        load_profile(tmp_path, "acme", env={"S": SECRET, "HOME": "/nowhere"})
    for error in (caught.value, *caught.value.others):
        assert SECRET not in f"{error} {error!r} {error.fix} {error.args}"
    assert caught.value.__cause__ is None


def test_a_number_as_a_password_is_not_shown(tmp_path):
    write(tmp_path, output(SALES.replace("bbbb", "8273645") + "}"))
    assert findings(tmp_path) == [
        "profiles.yml:5:100: target 't': org: 'client_secret' must be text (put it in quotes), found a number"
    ]


def test_nothing_prints_a_secret(tmp_path, caplog):
    profile = load_profile(write(tmp_path, PROFILES), "acme", target="prod", env=ENV)
    shown = [str(profile), repr(profile), str(profile.org), repr(profile.warehouse), repr(profile.places)]
    shown += [profile.org.model_dump_json(), json.dumps(profile.warehouse.model_dump(mode="json"))]
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("t").error("%s %r", profile, profile)
    try:
        raise ProfileError(f"something with {ENV['SF_CLIENT_SECRET']} in it")
    except ProfileError:
        shown.append(traceback.format_exc())
    for text in (*shown, caplog.text):
        assert ENV["SF_CLIENT_SECRET"] not in text.replace("ENV['SF_CLIENT_SECRET']", "")
        assert ENV["PGPASSWORD"] not in text
    assert scrub("a sf-hush-2 b pg-hush-1") == "a ******** b ********"


def test_jinja_is_imported_only_when_a_value_needs_it(tmp_path):
    write(tmp_path, PROFILES)
    program = (
        "import sys; from pathlib import Path; from sfsync.profiles import load_profile\n"
        "load_profile(Path(sys.argv[1]), 'acme', env={})\n"
        "print('jinja2' in sys.modules)\n"
        "load_profile(Path(sys.argv[1]), 'acme', target='prod', env={'PGPASSWORD': 'a', 'SF_CLIENT_ID': 'b', "
        "'SF_CLIENT_SECRET': 'c'})\n"
        "print('jinja2' in sys.modules)\n"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]
