"""What the user may do: told by debug, refused by plan before a call is spent, and printed as a permission set.

The local org takes the printed set and gives its user nothing else, so that "the least" is tried, not claimed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sfsync.errors import CompileError
from sfsync.jobs.debug import debug_command
from sfsync.jobs.permissions import PermissionsResult, permissions_command
from sfsync.jobs.rights import Check
from sfsync.jobs.schema_check import schema_check_command
from sfsync.jobs.schema_pull import schema_pull_command
from sfsync.local_org import control
from sfsync.report.permission_xml import permission_xml
from tests.jobs.conftest import Team, outcomes

STATE = ".sfsync/prod.duckdb"


def printed(team: Team) -> str:
    return permission_xml(permissions_command(team.options()))


def assign(team: Team, text: str) -> None:
    file = team.write("set.xml", text)
    control.assign(team.org.folder, file)


def without(text: str, kind: str, inside: str) -> str:
    """The set without the one part that says this."""
    parts = [p for p in re.findall(rf"    <{kind}>.*?</{kind}>\n", text, re.DOTALL) if f">{inside}<" in p]
    assert len(parts) == 1, parts
    return text.replace(parts[0], "")


def no_delete(text: str, name: str) -> str:
    part = next(
        p
        for p in re.findall(r"<objectPermissions>.*?</objectPermissions>", text, re.DOTALL)
        if f">{name}<" in p
    )
    assert "<allowDelete>true" in part
    return text.replace(part, part.replace("<allowDelete>true", "<allowDelete>false"))


def looked_at(team: Team) -> dict[str, Check]:
    return {check.name: check for check in debug_command(team.options()).checks}


def forget_describes(team: Team) -> None:
    import duckdb

    with duckdb.connect(str(team.folder / STATE)) as state:
        state.execute("DELETE FROM contract")


# ---------------------------------------------------------------- the least set


def test_the_printed_set_suffices_for_everything_that_the_project_does(ready: Team) -> None:
    ready.sync("contacts", on_removed="hard_delete")
    schema_pull_command(ready.options())
    assert permissions_command(ready.options()).user == ("ApiEnabled", "BulkApiHardDelete")
    assign(ready, printed(ready))
    checks = looked_at(ready)
    assert {name: check.ok for name, check in checks.items() if name.startswith(("sync", "contract"))} == {
        "contract": True,
        "sync accounts": True,
        "sync contacts": True,
    }
    forget_describes(ready)
    assert outcomes(ready.run(), "contacts") == {"created": 3}
    ready.contacts(
        [{"id": "C1", "last": "Ito", "email": "new@acme.example", "account": "A2"}, {"id": "C2", "last": "M"}]
    )
    result = ready.run(allow=["contacts.max_delete_share", "contacts.max_change_share"])
    assert outcomes(result, "contacts") == {"updated": 2, "deleted": 1}
    assert {r["Email"] for r in ready.org.records("Contact") if "Email" in r} == {"new@acme.example"}


def test_no_entry_of_the_set_can_be_spared(ready: Team) -> None:
    """Without any one of its entries the project is refused before anything is sent."""
    ready.sync("contacts", on_removed="delete")
    schema_pull_command(ready.options())
    whole = printed(ready)
    (ready.folder / "schema/prod.json").unlink()
    made = permissions_command(ready.options())
    changes: list[Callable[[str], str]] = [
        lambda t, p=f.place: without(t, "fieldPermissions", p) for f in made.fields
    ]  # type: ignore[misc]
    changes.append(lambda text: no_delete(text, "Contact"))
    assert len(changes) == 12
    for change in changes:
        assign(ready, change(whole))
        forget_describes(ready)
        with pytest.raises(CompileError):
            ready.plan()
    assert ready.org.writes() == []


def test_what_the_set_names_and_what_it_must_not(ready: Team) -> None:
    schema_pull_command(ready.options())
    made = permissions_command(ready.options())
    assert [(o.name, o.create, o.edit, o.delete) for o in made.objects] == [
        ("Account", True, True, False),
        ("Contact", True, True, False),
    ]
    places = {f.place for f in made.fields}
    assert {"Account.Account_Id__c", "Contact.Email", "Contact.AccountId", "Contact.Is_Champion__c"} <= places
    assert dict(made.left_out) == {
        "Account.Name": "it is the record's name, or a part of it",
        "Contact.FirstName": "it is the record's name, or a part of it",
        "Contact.LastName": "it is the record's name, or a part of it",
    }
    assert (made.unseen, made.user) == ((), ("ApiEnabled",))


def test_an_address_is_opened_as_a_whole_and_parents_are_only_read(ready: Team) -> None:
    (ready.folder / "syncs/accounts.yml").unlink()
    ready.sync("contacts", fields={"MailingCity": "title", "MailingCountry": "title", "Title": None})
    (ready.folder / "syncs/accounts.yml").unlink()  # `sync` has written both again
    schema_pull_command(ready.options())
    made = permissions_command(ready.options())
    rights = {f.place: f.editable for f in made.fields}
    assert rights["Contact.MailingAddress"] is True
    assert not any("MailingC" in place for place in rights)
    assert rights["Account.Account_Id__c"] is False
    assert [(o.name, o.create, o.edit) for o in made.objects] == [
        ("Account", False, False),
        ("Contact", True, True),
    ]


def test_what_is_not_known_of_the_org_is_listed_and_said(team: Team) -> None:
    made = permissions_command(team.options())
    assert made.unseen == ("Account", "Contact")
    assert "Contact.Email" in {f.place for f in made.fields}
    assert not (team.folder / STATE).exists()  # nobody was asked


def test_the_text_of_a_set(ready: Team) -> None:
    ready.sync("contacts", fields=dict.fromkeys(("FirstName", "Title", "Birthdate", "Last_Login__c", "Lifetime_Value__c", "Is_Champion__c", "Interests__c")))  # fmt: skip
    schema_pull_command(ready.options())
    golden = Path(__file__).parents[1] / "golden" / "permissions.xml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(printed(ready), "utf-8")
    assert printed(ready) == golden.read_text("utf-8")


def test_names_of_projects_cannot_break_the_file() -> None:
    made = PermissionsResult("a <b> & c", "d ]]> <e>", (), (), (), ())
    text = permission_xml(made)
    assert "<label>a &lt;b&gt; &amp; c</label>" in text


# ---------------------------------------------------------------- a user who lacks something


@pytest.fixture
def narrow(ready: Team) -> Team:
    """A user without the right to delete contacts and without access to their e-mail."""
    ready.sync("contacts", on_removed="delete")
    schema_pull_command(ready.options())
    text = printed(ready)
    (ready.folder / "schema/prod.json").unlink()
    assign(ready, no_delete(without(text, "fieldPermissions", "Contact.Email"), "Contact"))
    forget_describes(ready)
    return ready


def test_debug_shows_what_the_user_may_not(narrow: Team) -> None:
    checks = looked_at(narrow)
    assert checks["sync accounts"].ok is True
    assert checks["sync accounts"].detail == (
        "Account: may create, update; may not delete, which it does not need; sets and changes 3 of 3 fields"
    )
    found = checks["sync contacts"]
    assert found.ok is False
    assert found.detail == (
        "Contact: may create, update; may not delete; sets and changes 10 of 11 fields; not visible: Email"
    )
    assert "sfsync permissions" in str(found.fix)


def refused(team: Team) -> list[str]:
    with pytest.raises(CompileError) as found:
        team.plan()
    return [str(error) for error in (found.value, *found.value.others)]


def test_plan_refuses_before_a_call_is_spent(narrow: Team) -> None:
    """The describe is cached by debug; from then on no call at all is needed to refuse."""
    looked_at(narrow)
    before = len(narrow.org.requests())
    found = refused(narrow)
    assert [text.partition(": ")[2] for text in found] == [
        f"{narrow.org.username} may not delete records of 'Contact'",
        f"Contact has no field 'Email' that {narrow.org.username} can see",
    ]
    with pytest.raises(CompileError):
        narrow.run()
    assert len(narrow.org.requests()) == before
    assert narrow.org.writes() == []


def test_plan_without_what_is_closed_goes_on(narrow: Team) -> None:
    narrow.sync("contacts", on_removed="keep", fields={"Email": None})
    assert outcomes(narrow.run(), "contacts") == {"created": 3}


def test_a_contract_of_a_mightier_user_does_not_help(ready: Team) -> None:
    """The file says that all is well; the run sees that it is not, and sends nothing."""
    ready.sync("contacts", on_removed="delete")
    schema_pull_command(ready.options())
    assign(ready, no_delete(without(printed(ready), "fieldPermissions", "Contact.Email"), "Contact"))
    forget_describes(ready)
    assert ready.plan().syncs  # by the file
    with pytest.raises(CompileError) as found:
        ready.run()
    texts = [str(error) for error in (found.value, *found.value.others)]
    assert [t.partition("says: ")[2] for t in texts] == [
        "Contact: this user may not delete records any more (used by contacts)",
        "Contact.Email: gone from the org, or hidden from this user (used by contacts)",
    ]
    assert ready.org.writes() == []
    check = looked_at(ready)["contract"]
    assert check.ok is None
    assert check.fix == "sfsync schema check shows all of it"


def test_a_field_that_may_only_be_read(ready: Team) -> None:
    schema_pull_command(ready.options())
    text = printed(ready)
    part = next(
        p
        for p in re.findall(r"<fieldPermissions>.*?</fieldPermissions>", text, re.DOTALL)
        if ">Contact.Title<" in p
    )
    assign(ready, text.replace(part, part.replace("<editable>true", "<editable>false")))
    (ready.folder / "schema/prod.json").unlink()
    forget_describes(ready)
    found = looked_at(ready)["sync contacts"]
    assert (found.ok, found.detail.partition("fields; ")[2]) == (False, "read only: Title")
    (message,) = refused(ready)
    assert message.endswith(
        f"Contact.Title cannot be written: {ready.org.username} may neither create nor edit it"
    )


def test_the_key_of_a_parent_that_is_hidden(ready: Team) -> None:
    schema_pull_command(ready.options())
    (ready.folder / "syncs/accounts.yml").unlink()
    assign(ready, without(printed(ready), "fieldPermissions", "Account.Account_Id__c"))
    (ready.folder / "schema/prod.json").unlink()
    forget_describes(ready)
    found = looked_at(ready)["sync contacts"]
    assert found.ok is False
    assert found.detail.endswith("parents' keys not visible: Account.Account_Id__c")
    (message,) = refused(ready)
    assert "Account has no field 'Account_Id__c'" in message


def test_a_user_of_fewer_rights_than_the_one_who_pulled(ready: Team) -> None:
    """The contract is the administrator's, the runs are Ada's: she is named, and what she may not is refused."""
    ada = "ada.marsh@local.sfsync.example"
    ready.sync("contacts", on_removed="delete")
    schema_pull_command(ready.options())
    file = ready.write("set.xml", without(printed(ready), "fieldPermissions", "Contact.Title"))
    control.assign(ready.org.folder, file, ada)
    ready.profile(username=ada)
    forget_describes(ready)
    with pytest.raises(CompileError, match=r"Contact\.Title: gone from the org, or hidden from this user"):
        ready.run()
    told = f"the rights in the contract are those of {ready.org.username}, and this is {ada}"
    assert ("warning", f"schema/prod.json: {told}") in ready.logged
    assert schema_check_command(ready.options()).notes == (told,)
    ready.sync("contacts", fields={"Title": None})
    assert outcomes(ready.run(), "contacts") == {"created": 3}
    [hers] = [r["Id"] for r in ready.org.records("User") if r["Username"] == ada]
    assert {r["CreatedById"] for r in ready.org.records("Contact")} == {hers}
