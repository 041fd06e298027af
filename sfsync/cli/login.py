"""Commands about who works in the org: login, logout.

Owns:      their options, and opening a browser.
Does not:  sign in (jobs).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click

from sfsync.cli.events import Talker
from sfsync.cli.options import Given, seconds, shared
from sfsync.cli.screen import write_report
from sfsync.cli.shell import Command


@click.command(
    cls=Command,
    short_help="Sign in to the org, and say as whom.",
    examples=[
        ("sfsync login", "sign in, if that is needed, and say as whom"),
        ("sfsync login --force", "as another user, or after a login was revoked"),
        ("sfsync login --no-browser", "print the page's address instead of opening it"),
        ("sfsync login --setup --target prod", "the steps and metadata of the app to sign in by"),
    ],
)
@shared
@click.option("--force", is_flag=True, help="Sign in anew although there is a login.")
@click.option("--no-browser", is_flag=True, help="Only print the address of the page to sign in on.")
@click.option(
    "--timeout",
    callback=seconds,
    metavar="TIME",
    default="5m",
    help="How long to wait for the browser. [default: 5m]",
)
@click.option(
    "--setup",
    is_flag=True,
    help="Do not sign in: print the steps and the metadata of the app that the target signs in by.",
)
@click.option("--run-as", metavar="USER", help="With --setup: the user that sfsync is to work as.")
def login(
    given: Given, force: bool, no_browser: bool, timeout: float, setup: bool, run_as: str | None
) -> None:
    """Sign in to the target's org: with a browser where it says `auth: oauth`, else as it says."""
    if setup:
        _set_up(given, run_as)
        return
    if run_as is not None:
        raise click.UsageError("--run-as goes with --setup")
    from sfsync.jobs.login import login_command
    from sfsync.report.login_text import login_text

    with given.opened() as (options, talker):
        show = _shower(talker, opens=not no_browser)
        found = login_command(options, force=force, show=show, timeout_s=timeout)
    write_report(login_text(found))


@click.command(
    cls=Command,
    short_help="End the login that is kept on this machine.",
    examples=[("sfsync logout", "revoke it at the org and remove it from this machine")],
)
@shared
def logout(given: Given) -> int:
    """Revoke the login at the org and remove it from this machine."""
    from sfsync.jobs.logout import logout_command
    from sfsync.report.login_text import logout_text

    with given.opened() as (options, talker):
        found = logout_command(options)
        if found.problem is not None:
            talker.log(
                "warning",
                f"the org could not be told: {found.problem}. The login lives on there until it is revoked under Setup, "
                "Connected Apps OAuth Usage",
            )
    write_report(logout_text(found))
    return 0 if found.revoked is not False else 1


def _set_up(given: Given, run_as: str | None) -> None:
    from sfsync.jobs.login_setup import login_setup_command
    from sfsync.report.app_setup import setup_text

    with given.opened() as (options, _):
        made = login_setup_command(options, run_as=run_as)
    write_report(setup_text(made.setup, os.path.relpath(made.folder)))


def _shower(talker: Talker, *, opens: bool) -> Callable[[str], None]:
    def show(url: str) -> None:
        talker.log("info", f"sign in on this page: {url}", url=url)
        if opens and not _open(url):
            talker.log("warning", "no browser could be opened here: open the page by hand")

    return show


def _open(url: str) -> bool:
    """Open a browser; False where there is none. One in the terminal is none: it would take the screen."""
    import webbrowser

    graphic = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")
    )
    try:
        return graphic and webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False
