"""`sfsync login --setup`: the app that a target signs in by, as metadata; its certificate opens the local org."""

from __future__ import annotations

import base64
import json
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sfsync.errors import AuthError, ProfileError, SfsyncError
from sfsync.jobs.login_setup import SetupResult, login_setup_command
from sfsync.jobs.session import Options, Session
from sfsync.local_org.assertion import CERTIFICATE
from sfsync.ports import SystemClock
from sfsync.report.app_setup import setup_text
from sfsync.salesforce.auth import Desk, sign_in
from sfsync.salesforce.login import Login, id18
from sfsync.salesforce.transport import Transport
from tests.jobs.conftest import Team
from tests.jobs.test_sign_in import by

SPACE = "{http://soap.sforce.com/2006/04/metadata}"
FROM_ENV = "{{ env_var('SF_CLIENT_ID') }}"


def options(team: Team, **env: str) -> Options:
    return replace(team.options(), env={"HOME": str(team.folder.parent), **env})


def values(made: SetupResult) -> dict[str, dict[str, str]]:
    """Root element -> its children, of each file."""
    found = {}
    for path in made.folder.rglob("*.xml"):
        root = ET.fromstring(path.read_text())
        found[root.tag.removeprefix(SPACE)] = {
            child.tag.removeprefix(SPACE): child.text or "" for child in root
        }
    return found


@pytest.fixture
def key(team: Team) -> Path:
    path = team.folder / "server.key"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-out", str(path)], check=True, capture_output=True
    )
    return path


@pytest.fixture
def registered(org: Any) -> Iterator[Path]:
    """The app's certificate in the org; put back at the end."""
    path = Path(org.folder) / CERTIFICATE
    before = path.read_text()
    yield path
    path.write_text(before)


def test_the_certificate_belongs_to_the_profile_s_key(
    team: Team, org: Any, key: Path, registered: Path
) -> None:
    by(team, auth="jwt", username="sfsync@acme.example", private_key_file="server.key", client_id=FROM_ENV)
    made = login_setup_command(options(team))  # nobody knows the consumer key yet
    files = values(made)
    settings, policies = (
        files["ExtlClntAppGlobalOauthSettings"],
        files["ExtlClntAppOauthConfigurablePolicies"],
    )
    assert policies["permittedUsersPolicyType"] == "AdminApprovedPreAuthorized"
    assert policies["commaSeparatedPermissionSet"] == "sfsync_team"
    assert files["ExternalClientApplication"]["contactEmail"] == "sfsync@acme.example"
    lines = base64.encodebytes(base64.b64decode(settings["certificate"])).decode()
    registered.write_text(f"-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
    login = Login(
        "jwt", org.url, org.client_id, username=org.username, private_key_file=str(key), audience=org.url
    )
    transport = Transport(ca_file=org.ca_file)
    assert sign_in(login, Desk(transport, SystemClock())).org_id == id18(org.org_id)
    transport.close()
    assert "PRIVATE KEY" not in "".join(path.read_text() for path in made.folder.rglob("*") if path.is_file())


def test_an_app_for_client_credentials(team: Team, org: Any) -> None:
    by(team, auth="client_credentials", client_id=FROM_ENV, client_secret="{{ env_var('SF_CLIENT_SECRET') }}")
    text = setup_text(login_setup_command(options(team)).setup, "target/setup")
    assert "choose the user under 'Run As'" in text
    assert (
        "sfsync permissions --target prod > target/setup/force-app/main/default/permissionsets/sfsync_team."
        in text
    )
    made = login_setup_command(options(team), run_as="bot@acme.example")
    text, files = setup_text(made.setup, "target/setup"), values(made)
    assert "'Run As'" not in text
    assert "the consumer secret into `client_secret`" in text
    policies = files["ExtlClntAppOauthConfigurablePolicies"]
    assert policies["clientCredentialsFlowUser"] == "bot@acme.example"
    assert policies["isClientCredentialsFlowEnabled"] == "true"
    assert files["ExtlClntAppOauthSettings"]["commaSeparatedOauthScopes"] == "Api, RefreshToken"
    assert org.requests() == []
    project = json.loads((made.folder / "sfdx-project.json").read_text())
    assert project["packageDirectories"][0]["path"] == "force-app"


def test_an_app_for_a_browser(team: Team) -> None:
    by(team, auth="oauth", callback_url="http://localhost:8123/back", client_id=FROM_ENV)
    made = login_setup_command(options(team))
    settings = values(made)["ExtlClntAppGlobalOauthSettings"]
    assert settings["callbackUrl"] == "http://localhost:8123/back"
    assert (settings["isPkceRequired"], settings["isConsumerSecretOptional"]) == ("true", "true")
    assert "certificate" not in settings
    text = setup_text(made.setup, "target/setup")
    assert "Integration" not in text  # people sign in, as themselves
    assert "sfsync login --target prod" in text


def test_what_was_not_set_yet_is_not_kept(team: Team) -> None:
    by(team, auth="oauth", client_id=FROM_ENV)
    login_setup_command(options(team))
    with (
        Session(options(team), "plan") as session,
        pytest.raises(ProfileError, match="SF_CLIENT_ID is not set"),
    ):
        _ = session.credentials
    with Session(options(team, SF_CLIENT_ID="3MVG9"), "plan") as session:
        assert session.credentials == {"client_id": "3MVG9"}


def test_targets_that_need_no_app(team: Team) -> None:
    with pytest.raises(SfsyncError, match="'prod' needs no app to be set up: it signs in by password"):
        login_setup_command(options(team))


def test_a_key_that_is_not_there_can_be_made(team: Team) -> None:
    by(team, auth="jwt", username="u@x.example", private_key_file="gone.key", client_id=FROM_ENV)
    with pytest.raises(AuthError, match=r"gone\.key cannot be read") as caught:
        login_setup_command(options(team))
    assert "openssl req -x509" in str(caught.value.fix)
