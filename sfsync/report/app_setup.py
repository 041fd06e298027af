"""The app that sfsync signs in by, as an admin sets it up: the steps, and the platform's metadata of it.

Owns:      both texts.
Does not:  choose anything (jobs/login_setup), or write a file.
Invariant: no secret is in them; a certificate is public.
           Source: Metadata API Developer Guide, "ExternalClientApplication" and the ExtlClntApp types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Protocol
from xml.sax.saxutils import escape

from sfsync.report.words import safe

SCOPES = "Api, RefreshToken"
_NAMESPACE = "http://soap.sforce.com/2006/04/metadata"
_FOLDER = "force-app/main/default"


class AppSetup(Protocol):
    """What the app must be like."""

    @property
    def name(self) -> str: ...  # as the API calls it
    @property
    def label(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def auth(self) -> str: ...
    @property
    def contact(self) -> str: ...  # an e-mail address
    @property
    def callback_url(self) -> str: ...
    @property
    def certificate(self) -> str | None: ...  # base64, without the lines of PEM around it
    @property
    def user(self) -> str | None: ...  # who sfsync works as
    @property
    def has_secret(self) -> bool: ...
    @property
    def api_version(self) -> str: ...


def metadata_files(setup: AppSetup) -> dict[str, str]:
    """A folder that `sf project deploy` takes: path -> text."""
    project = {
        "packageDirectories": [{"path": "force-app", "default": True}],
        "sourceApiVersion": setup.api_version,
    }
    app: dict[str, str | bool] = {
        "contactEmail": setup.contact,
        "description": "Reverse ETL to Salesforce as code.",
        "distributionState": "Local",
        "isProtected": False,
        "label": setup.label,
    }
    settings = {
        "commaSeparatedOauthScopes": SCOPES,
        "externalClientApplication": setup.name,
        "label": f"{setup.name}_oauth",
    }
    return {
        "sfdx-project.json": json.dumps(project, indent=2) + "\n",
        f"{_FOLDER}/externalClientApps/{setup.name}.eca-meta.xml": _xml("ExternalClientApplication", app),
        f"{_FOLDER}/extlClntAppOauthSettings/{setup.name}_oauth.ecaOauth-meta.xml": _xml(
            "ExtlClntAppOauthSettings", settings
        ),
        f"{_FOLDER}/extlClntAppGlobalOauthSets/{setup.name}_glbloauth.ecaGlblOauth-meta.xml": _xml(
            "ExtlClntAppGlobalOauthSettings", _global(setup)
        ),
        f"{_FOLDER}/extlClntAppOauthPolicies/{setup.name}_oauthPlcy.ecaOauthPlcy-meta.xml": _xml(
            "ExtlClntAppOauthConfigurablePolicies", _policies(setup)
        ),
    }


def _global(setup: AppSetup) -> dict[str, str | bool]:
    certificate = {"certificate": setup.certificate} if setup.certificate else {}
    return {
        "callbackUrl": setup.callback_url,
        **certificate,
        "externalClientApplication": setup.name,
        "isClientCredentialsFlowEnabled": setup.auth == "client_credentials",
        "isConsumerSecretOptional": not setup.has_secret,
        "isIntrospectAllTokens": False,
        "isPkceRequired": True,
        "isSecretRequiredForRefreshToken": setup.has_secret,
        "label": f"{setup.name}_glbloauth",
        "shouldRotateConsumerKey": False,
        "shouldRotateConsumerSecret": False,
    }


def _policies(setup: AppSetup) -> dict[str, str | bool]:
    by_app = setup.auth == "client_credentials"
    run_as = {"clientCredentialsFlowUser": setup.user} if by_app and setup.user else {}
    chosen = {"commaSeparatedPermissionSet": setup.name} if setup.auth == "jwt" else {}
    return {
        **run_as,
        **chosen,
        "externalClientApplication": setup.name,
        "ipRelaxationPolicyType": "Enforce",
        "isClientCredentialsFlowEnabled": by_app,
        "label": f"{setup.name}_oauthPlcy",
        "permittedUsersPolicyType": "AdminApprovedPreAuthorized"
        if setup.auth == "jwt"
        else "AllSelfAuthorized",
    }


def _xml(kind: str, values: Mapping[str, str | bool]) -> str:
    lines = [
        f"    <{name}>{escape(str(value).lower() if isinstance(value, bool) else value)}</{name}>"
        for name, value in values.items()
    ]
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<{kind} xmlns="{_NAMESPACE}">'
    return "\n".join([head, *lines, f"</{kind}>"]) + "\n"


def setup_text(setup: AppSetup, folder: str) -> str:
    """The steps, then each file. folder: where the files were written."""
    steps = "".join(f"{number}. {step}\n" for number, step in enumerate(_steps(setup, folder), 1))
    files = "".join(f"\n{path}\n\n{text}" for path, text in metadata_files(setup).items())
    return (
        f"The app {setup.name} for target '{safe(setup.target)}', which signs in by {setup.auth}. Scopes: {SCOPES}.\n\n"
        f"{steps}\nIn {safe(folder)}:\n{files}"
    )


def _steps(setup: AppSetup, folder: str) -> Sequence[str]:
    user = f" {safe(setup.user)}" if setup.user else ""
    sets, target = f"{folder}/{_FOLDER}/permissionsets", safe(setup.target)
    rights = (
        f"Put the permission set of what the syncs write beside the app: mkdir -p {safe(quote(sets))} && sfsync permissions "
        f"--target {target} > {safe(quote(f'{sets}/{setup.name}.permissionset-meta.xml'))}"
    )
    machine = (
        f"Make the user{user} that sfsync works as: licence Salesforce Integration, profile 'Minimum Access - API Only "
        "Integrations'."
    )
    deploy = (
        f"Look through the files, above all contactEmail, and deploy them: cd {safe(quote(folder))} && "
        "sf project deploy start --source-dir force-app --target-org YOUR_ORG"
    )
    give = f"Give the user the permission set {setup.name}."
    key = (
        "Copy the consumer key (Setup, External Client App Manager, the app, OAuth Settings) into `client_id`"
    )
    key += ", the consumer secret into `client_secret`." if setup.has_secret else "."
    check = f"Wait some minutes, then: sfsync login --target {target}"
    if setup.auth == "oauth":
        return (deploy, key, check)
    run_as = (
        ()
        if setup.auth == "jwt" or setup.user
        else ("In the app's policies, choose the user under 'Run As'.",)
    )
    return (rights, machine, deploy, give, *run_as, key, check)
