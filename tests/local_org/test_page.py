"""The org's web page: who may see it, what it shows, and that it can be used, in Chromium and without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.browser import ENTER, TAB, Browser, chromium

PAGE = "/_local/page"
EVIL = '<script>document.title="owned"</script> & "quoted"'


class Visitor:
    """Somebody with a browser's cookies and nothing else."""

    def __init__(self, org: Any) -> None:
        self.org = org
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(org.ca_file)

    def get(self, path: str, **params: str) -> requests.Response:
        return self.session.get(self.org.url + path, params=params, allow_redirects=False)

    def post(self, path: str, origin: str | None = None, **form: str) -> requests.Response:
        headers = {"Origin": origin} if origin else {}
        return self.session.post(self.org.url + path, data=form, headers=headers, allow_redirects=False)

    def sign_in(self) -> requests.Response:
        return self.post(f"{PAGE}/sign-in", username=self.org.username, password=self.org.password)


@pytest.fixture
def visitor(org: Any) -> Iterator[Visitor]:
    found = Visitor(org)
    yield found
    found.session.close()


# -------------------------------------------------------------------- who may see it

ADDRESSES = [
    "",
    "/objects/Account",
    "/records/001000000000000AAA",
    "/journal",
    "/limits",
    "/faults",
    "/nothing",
]


@pytest.mark.parametrize("path", ADDRESSES)
def test_nobody_sees_anything_unsigned(org, visitor, path):
    org.post("/sobjects/Account", json={"Name": "Secret Ltd"})
    answer = visitor.get(PAGE + path)
    assert answer.status_code == 401
    assert "<h1>Sign in</h1>" in answer.text
    assert not any(
        word in answer.text for word in ("Secret Ltd", org.org_id, org.password, org.client_secret)
    )


def test_the_address_of_the_org_leads_to_the_page(visitor):
    answer = visitor.get("/")
    assert (answer.status_code, answer.headers["location"]) == (302, PAGE)


@pytest.mark.parametrize(
    ("name", "word"), [("admin", "x"), ("", ""), ("{username}", ""), ("x", "{password}")]
)
def test_a_wrong_password(org, visitor, name, word):
    known = {"username": org.username, "password": org.password}
    answer = visitor.post(f"{PAGE}/sign-in", username=name.format(**known), password=word.format(**known))
    assert answer.status_code == 401
    assert "This user name or password is not the org" in answer.text
    assert not visitor.session.cookies
    assert visitor.get(PAGE).status_code == 401


def test_signing_in_and_out(org, visitor):
    answer = visitor.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    told = answer.headers["set-cookie"].lower()
    assert all(word in told for word in ("httponly", "secure", "samesite=strict", f"path={PAGE}"))
    assert org.password not in told
    token = next(iter(visitor.session.cookies)).value
    assert visitor.get(PAGE).status_code == 200
    assert visitor.post(f"{PAGE}/sign-out", origin=org.url).status_code == 303
    again = visitor.session.get(org.url + PAGE, headers={"Cookie": f"sfsync_org_{org.org_id[:15]}={token}"})
    assert again.status_code == 401  # the token is dead, not only forgotten


def test_other_pages_cannot_send_its_forms(org, visitor):
    visitor.sign_in()
    for path in ("sign-in", "sign-out"):
        answer = visitor.post(
            f"{PAGE}/{path}", origin="https://evil.example", username=org.username, password=org.password
        )
        assert answer.status_code == 403
    assert visitor.post(PAGE).status_code == 405
    assert visitor.post(f"{PAGE}/journal").status_code == 403
    assert visitor.get(PAGE).status_code == 200


def test_an_api_token_is_no_way_in_and_a_cookie_no_token(org, visitor):
    visitor.sign_in()
    assert visitor.get("/_local/state").status_code == 401
    bearer = {"Authorization": f"Bearer {org.client_secret}"}
    assert (
        requests.get(org.url + PAGE, headers=bearer, verify=str(org.ca_file), timeout=10).status_code == 401
    )


def test_answers_forbid_scripts_frames_and_copies(visitor):
    for answer in (visitor.get(PAGE), visitor.sign_in(), visitor.get(PAGE), visitor.get(f"{PAGE}/style.css")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == (
            "no-store",
            "no-referrer",
        )


def test_looking_leaves_no_trace(org, visitor):
    before = (org.state()["api_calls"]["used"], len(org.requests()))
    visitor.sign_in()
    for path in ("/", PAGE, f"{PAGE}/journal", "/favicon.ico"):
        visitor.get(path)
    assert (org.state()["api_calls"]["used"], len(org.requests())) == before


# -------------------------------------------------------------------- what it shows


def cells(html: str) -> list[str]:
    return re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", html, re.DOTALL)


def test_values_are_escaped(org, visitor):
    record = org.post("/sobjects/Account", json={"Name": EVIL, "Description": EVIL}).json()["id"]
    org.session.get(f"{org.url}/services/data/v67.0/{EVIL}")
    org.faults([{"fault": "slow", "match": f"/{EVIL.split()[0]}", "seconds": 0}])
    visitor.sign_in()
    for path in ("/objects/Account", f"/records/{record}", "/journal", "/faults", f"/objects/Account?q={EVIL}", f"/objects/{EVIL}", f"/{EVIL}"):  # fmt: skip
        text = visitor.session.get(f"{org.url}{PAGE}{path}").text
        assert "<script" not in text, path
        assert "&lt;script&gt;" in text, path


def test_objects_and_records(org, visitor):
    rows = [
        {"attributes": {"type": "Contact"}, "LastName": f"L{i:03}", "Customer_Id__c": f"C-{i}"}
        for i in range(120)
    ]
    ids = [r["id"] for r in org.post("/composite/sobjects", json={"records": rows}).json()]
    org.delete(f"/sobjects/Contact/{ids[5]}")
    visitor.sign_in()
    listed = re.search(r"objects/Contact\"?>.*?</tr>", visitor.get(PAGE).text, re.DOTALL)
    assert listed is not None
    assert [re.sub("<.*?>", "", c) for c in cells("<td>" + listed[0])][-2:] == ["119", "1"]
    page = visitor.get(f"{PAGE}/objects/Contact", page="2").text
    assert "51–100 of 119" in page
    assert [f">{name}<" in page for name in ("L051", "L000", "L110")] == [True, False, False]
    assert "101–119 of 119" in visitor.get(f"{PAGE}/objects/Contact", page="99").text
    assert "1–50 of 119" in visitor.get(f"{PAGE}/objects/Contact", page="x").text
    found = visitor.get(f"{PAGE}/objects/Contact", q="l007").text
    assert "1–1 of 1" in found
    assert "No record contains “Nobody”." in visitor.get(f"{PAGE}/objects/Contact", q="Nobody").text
    assert "L005" in visitor.get(f"{PAGE}/objects/Contact", bin="1").text
    assert "In the recycle bin." in visitor.get(f"{PAGE}/records/{ids[5]}").text
    one = visitor.get(f"{PAGE}/records/{ids[7][:15]}").text
    assert "<h1>L007</h1>" in one
    assert f'href="{PAGE}/records/{org.records("User")[0]["Id"][:3]}' in one  # a lookup leads on: OwnerId
    for path in ("/objects/Nothing", "/records/003000000000000AAA", "/records/x", "/nothing"):
        assert visitor.get(PAGE + path).status_code == 404


def test_journal_limits_and_faults(org, visitor):
    org.get("/limits")
    org.get("/sobjects/Nothing/describe")
    org.limits(max=200, used=150)
    visitor.sign_in()
    journal = cells(visitor.get(f"{PAGE}/journal").text)
    assert "<code>/services/data/v67.0/sobjects/Nothing/describe</code>" in journal
    assert journal.index("404") < len(journal)
    only = visitor.get(f"{PAGE}/journal", q="get /services/data/v67.0/limits").text
    assert "1–1 of 1" in only
    limits = visitor.get(f"{PAGE}/limits").text
    assert re.search(r"DailyApiRequests.*?>150<.*?>50<.*?>200<", limits, re.DOTALL)
    assert "None: this org answers as it should." in visitor.get(f"{PAGE}/faults").text
    org.faults([{"fault": "locked_rows", "object": "Contact", "times": 3}])
    assert {"<code>locked_rows</code>", "Contact", "3"} <= set(cells(visitor.get(f"{PAGE}/faults").text))


# -------------------------------------------------------------------- in a browser


def luminance(color: str) -> float:
    parts = [int(n) / 255 for n in re.findall(r"\d+", color)[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(browser: Browser, css: str) -> float:
    """Of an element's text with the page's ground; WCAG asks for 4.5."""
    text, ground = browser.run(
        "return [getComputedStyle(document.querySelector(arguments[0])).color, getComputedStyle(document.body).backgroundColor]",
        css,
    )
    light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_in_chromium(org, tmp_path):
    """Signed in, looked around, filtered and turned pages by keyboard, in the light and in the dark."""
    rows = [{"attributes": {"type": "Account"}, "Name": EVIL if i == 60 else f"Acme {i}"} for i in range(61)]
    org.post("/composite/sobjects", json={"records": rows})
    org.get("/limits")
    with chromium(tmp_path) as browser:
        browser.open(org.url)
        browser.sees("h1", "Sign in")
        browser.press(f"{org.password}{ENTER}")  # the password field has the focus
        browser.sees("h1", "Objects")
        assert browser.url == org.url + PAGE
        for dark in (False, True):
            browser.dark(on=dark)
            assert all(
                contrast(browser, css) >= 4.5 for css in ("h1", "td a", "thead th", ".none", "header a")
            )
        browser.link("Account")
        browser.sees(".paging span", "1–50 of 61")
        browser.link("Next")
        browser.sees(".paging span", "51–61 of 61")
        assert EVIL in browser.texts("td")
        assert browser.run("return document.title") == "Account · Local org"
        browser.type("#q", f"acme 17{ENTER}")
        browser.sees(".paging span", "1–1 of 1")
        browser.run("document.querySelector('#q').focus()")
        browser.press(TAB * 4 + ENTER)  # the box, the button, the table that scrolls, the record
        browser.sees("h1", "Acme 17")
        for section, title in (
            ("Journal", "Journal of requests"),
            ("Limits", "Limits"),
            ("Faults", "Faults in force"),
        ):
            browser.link(section)
            browser.sees("h1", title)
            browser.sees("[aria-current]", section)
            assert browser.run(
                "return document.scrollingElement.scrollWidth <= innerWidth"
            )  # only tables scroll
        browser.click("header button")
        browser.sees("h1", "Sign in")
        assert browser.run(
            "const found = performance.getEntriesByType('resource').map(e => e.name);"
            "return found.length > 0 && found.every(name => name.startsWith(arguments[0]))",
            org.url,
        )
