"""The plan in its three forms: golden files for people, structure for programs, safety against data."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from sfsync.report.page import Page, Style
from sfsync.report.plan_json import plan_json
from sfsync.report.plan_markdown import MAX_CHARACTERS, escaped, plan_markdown
from sfsync.report.plan_text import plan_text
from sfsync.report.words import cells, safe

LAST = (
    "Plan: 120 to create, 45 to update (61 fields), 3 to delete, 2 rejected."
    " API: 7 calls; 20,000 allowed, 84,200 left in the org (seen 09:14)."
)


@pytest.mark.parametrize(("width", "name"), [(0, "pipe"), (80, "80"), (120, "120")])
def test_busy_plan_as_text(plans, golden, width, name):
    golden(f"plan_busy_{name}.txt", plan_text(plans.busy(), color=False, width=width))


def test_busy_plan_in_colour(plans, golden):
    golden("plan_busy_colour.txt", plan_text(plans.busy(), color=True, width=80).replace("\x1b", "ESC"))


def test_colour_changes_no_text(plans):
    plain = plan_text(plans.busy(), color=False, width=80)
    assert re.sub(r"\x1b\[[\d;]*m", "", plan_text(plans.busy(), color=True, width=80)) == plain


def test_busy_plan_as_markdown(plans, golden):
    golden("plan_busy.md", plan_markdown(plans.busy()))


def test_busy_plan_as_json(plans, golden):
    text = plan_json(plans.busy())
    body = json.loads(text)
    body["metadata"]["sfsync_version"] = "0"
    golden("plan_busy.json", json.dumps(body, indent=1, ensure_ascii=False) + "\n")


@pytest.mark.parametrize(
    "form", [plan_markdown, lambda p: plan_text(p, color=False, width=0)], ids=["markdown", "text"]
)
def test_the_last_line_has_its_form(plans, form):
    assert form(plans.busy()).splitlines()[-1] == LAST


def test_the_last_line_is_not_broken_on_a_small_terminal(plans):
    assert plan_text(plans.busy(), color=False, width=60).splitlines()[-1] == LAST


def test_nothing_to_do_says_so_and_what_is_unknown(plans, golden):
    golden("plan_idle.txt", plan_text(plans.idle(), color=False, width=80))
    golden("plan_idle.md", plan_markdown(plans.idle()))


def test_an_empty_selection(plans):
    assert "The selection has no sync." in plan_text(plans.plan(), color=False, width=0)
    assert "The selection has no sync." in plan_markdown(plans.plan())


NOTES = [  # id, on_limit, allowed, said
    ("enough", "defer", 7, None),
    ("too little, defer", "defer", 3, "defer the rest to the next run"),
    ("too little, refuse", "refuse", 3, "contacts says on_limit: refuse"),
]


@pytest.mark.parametrize(("on_limit", "allowed", "said"), [n[1:] for n in NOTES], ids=[n[0] for n in NOTES])
def test_a_budget_that_is_too_small(plans, on_limit, allowed, said):
    from sfsync.compiler.manifest import OnLimit

    busy = plans.busy()
    syncs = tuple(
        replace(i, sync=replace(i.sync, on_limit=OnLimit(on_limit))) for i in busy.syncs if not i.refusals
    )
    text = plan_text(replace(busy, syncs=syncs, api=replace(busy.api, allowed=allowed)), color=False, width=0)
    if said is None:
        assert "are allowed now" not in text
    else:
        assert f"needs 7 API calls and {allowed} are allowed now" in text
        assert said in text


@pytest.mark.parametrize(("allowed", "short"), [(2, False), (1, True), (0, True)])
def test_too_few_bulk_batches(plans, allowed, short):
    busy = plans.busy()
    text = plan_text(
        replace(busy, api=replace(busy.api, batches=2, batches_allowed=allowed)), color=False, width=0
    )
    assert f"Bulk batches: 2; {allowed} allowed\n" in text
    assert (f"needs 2 Bulk batches and {allowed} are allowed now" in text) == short


def test_a_plan_without_bulk_jobs_does_not_speak_of_batches(plans):
    busy = plans.busy()
    text = plan_text(replace(busy, api=replace(busy.api, batches=0)), color=False, width=0)
    assert "Bulk" not in text


def test_a_seen_time_of_another_day_has_its_date(plans):
    from datetime import timedelta

    busy = plans.busy()
    old = replace(busy, api=replace(busy.api, seen_at=busy.api.seen_at - timedelta(days=2)))
    assert "(seen 2026-07-20 09:14)." in plan_text(old, color=False, width=0)


# ---------------------------------------------------------------- data that bites


def test_values_cannot_touch_the_screen(plans, golden):
    text = plan_text(plans.hostile(), color=False, width=80)
    bad = [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
    assert not bad
    golden("plan_hostile_80.txt", text)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_screen(plans, width):
    lines = plan_text(plans.busy(), color=False, width=width).splitlines()[:-1]
    assert max(cells(line) for line in lines) <= width


def test_markdown_keeps_hostile_data_in_its_place(plans, golden):
    text = plan_markdown(plans.hostile())
    golden("plan_hostile.md", text)
    fence = re.search(r"^(`{3,})diff\n(.*?)^\1$", text, re.MULTILINE | re.DOTALL)
    assert fence is not None
    assert len(fence[1]) == 5, "longer than the run of four inside"
    outside = text[: fence.start()] + text[fence.end() :]
    assert "@everyone" not in outside
    assert "<script" not in outside
    rows = [line for line in outside.splitlines() if line.startswith("|")]
    pipes = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert pipes <= {6, 10}, rows

    seen = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.add(tag)

    Tags().feed(outside)
    assert seen <= {"details", "summary", "br"}
    assert outside.count("</details>") == 1


def test_markdown_fits_into_one_comment(plans):
    from sfsync.plan.plan import Sample
    from sfsync.records import Operation

    samples = tuple(
        Sample(f"k{n}", Operation.UPSERT, {f"Field{i}__c": (None, "ü" * 5000) for i in range(40)})
        for n in range(5)
    )
    many = [
        plans.sync(f"sync{n}", "Contact", counts={"staged": 5, "upserts": 5}, samples=samples)
        for n in range(12)
    ]
    text = plan_markdown(plans.plan(*many))
    assert len(text) < MAX_CHARACTERS
    assert "do not fit here" in text
    assert text.splitlines()[-1].startswith("Plan: 60 to create")


def test_json_says_absent_null_and_text_apart(plans):
    body = json.loads(plan_json(plans.busy()))
    contacts = next(sync for sync in body["syncs"] if sync["name"] == "contacts")
    assert contacts["samples"][1] == {
        "key": "c-2",
        "operation": "update",
        "changes": {
            "Email": ["a@x.example", "b@x.example"],
            "Title": ["CEO", ""],
            "Phone": [None, "1"],
            "Fax": ["", "2"],
        },
    }
    assert list(body) == ["metadata", "totals", "api", "guards", "warnings", "syncs"]
    assert {"name", "object", "counts", "fields", "rejected", "samples"} <= set(contacts)
    assert contacts["fields"] == {"Email": 40, "Title": 21}
    assert body["guards"][0]["allow"] == "subscriptions.max_deletes"


def test_json_of_hostile_data_is_the_data(plans):
    changes = json.loads(plan_json(plans.hostile()))["syncs"][0]["samples"][0]["changes"]
    assert changes["LastName"][1].startswith("a|b `c` ````")
    assert "\x1b[2J\r\nnew\u202eline" in changes["LastName"][1]


def test_page_without_colour_writes_no_escape():
    page = Page(color=False, width=20)
    page.entry("+", "1 new", "a detail that is much too long for it", style=Style.CREATE)
    page.wrapped("words " * 20, style=Style.BAD)
    assert "\x1b" not in page.text()
    assert max(len(line) for line in page.text().splitlines()) <= 20


ESCAPED = [
    ("names stay as they are", "Customer_Id__c acme_crm", "Customer_Id__c acme_crm"),
    ("emphasis", "_x_ **b** ~~c~~", "&#95;x&#95; &#42;&#42;b&#42;&#42; &#126;&#126;c&#126;&#126;"),
    ("a cell's end", "a|b\\|c", "a&#124;b&#92;&#124;c"),
    ("an entity that was there", "&lt;", "&#38;lt;"),
    ("a link", "[a](b)", "&#91;a&#93;(b)"),
    ("a line end", "a\nb", "a&#92;nb"),
]


@pytest.mark.parametrize(("text", "expected"), [e[1:] for e in ESCAPED], ids=[e[0] for e in ESCAPED])
def test_escaped(text, expected):
    assert escaped(text) == expected


def test_markdown_rendered_is_what_was_meant(plans):
    """Through a real CommonMark renderer: cells, tags and the code block are where they should be."""
    from markdown_it import MarkdownIt

    hostile = plans.hostile().syncs[0].rejected_rows[0].message
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(plan_markdown(plans.hostile()))
    cells_shown = [
        "".join(child.content for child in (after.children or []))
        for token, after in pairwise(tokens)
        if token.type == "td_open"
    ]
    assert cells_shown[-1] == f"K__c {safe(hostile)}: {safe(hostile)}"
    assert len(cells_shown) == 9 + 5
    fences = [token for token in tokens if token.type == "fence"]
    assert [token.info for token in fences] == ["diff"]
    assert fences[0].content.count("\n") == 5
    tags = [token.content.split()[0] for token in tokens if token.type == "html_block"]
    assert tags == ["<details>", "</details>"]
    emphasised = [
        c.type for t in tokens for c in t.children or [] if c.type in ("em_open", "strong_open", "link_open")
    ]
    assert not emphasised
