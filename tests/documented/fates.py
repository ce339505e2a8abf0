"""What becomes of each command of the docs that cannot simply be run to its end with status 0.

Contract: tables by regular expressions, each of which fits a whole command.  A command that fits none of them is run in
a Machine and must succeed.  One that is run nowhere names a test of the same thing, which must exist.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Elsewhere(NamedTuple):
    """Why a command is not run here, and the test that shows the same."""

    why: str
    test: str
    """PATH::NAME."""


_NO_NETWORK: Final = "needs a package index, which the machine does not have"
_WHEEL: Final = "tests/packaging/test_wheel.py::test_the_installed_command_checks_the_policies_it_carries"
_TWIST: Final = "tests/packaging/test_wheel.py::test_twist_lists_the_plugin_and_its_options"
_SITE: Final = "tests/admin/test_site.py::test_everything_there_is_is_served_with_strict_headers_and_no_banner"
_ROUTES: Final = "tests/hosts/test_routes.py::test_routes_are_set_up_and_taken_back_as_often_as_one_likes"
_BUILDS: Final = "tests/packaging/test_debian.py::test_two_builds_of_one_source_are_the_same_to_the_octet"
_INSTALLED: Final = "tests/packaging/test_debian.py::test_nothing_is_started_by_installing_and_the_next_step_is_told"
_REMOVED: Final = (
    "tests/packaging/test_debian.py::test_removal_keeps_what_is_the_administrators_and_a_purge_leaves_nothing"
)

ELSEWHERE: Final[dict[str, Elsewhere]] = {
    r"(?s)python3 -m venv /opt/smtpguard( && .*)?": Elsewhere(_NO_NETWORK, _WHEEL),
    r"(/opt/smtpguard/bin/)?pip install .*": Elsewhere(_NO_NETWORK, _WHEEL),
    r"make wheel && /opt/smtpguard/bin/pip install .*": Elsewhere(
        "compiles for minutes", "tests/packaging/test_debian.py::test_the_compiled_wheel_is_for_this_platform_and_works"
    ),
    r"(python3 -m pip download|PIP_NO_INDEX=1) .*": Elsewhere(_NO_NETWORK, _BUILDS),
    r"sha256sum build/deb/\*\.deb": Elsewhere("needs the package, which takes minutes", _BUILDS),
    r"apt-get install \./build/deb/.*": Elsewhere("needs the package, which takes minutes", _INSTALLED),
    r"apt-get (remove|purge) smtpguard": Elsewhere("needs the package, which takes minutes", _REMOVED),
    r"postconf .*": Elsewhere(
        "needs Postfix, which is not beside sendmail",
        "tests/mtas/test_network_files.py::test_postfix_relays_for_those_who_are_in_the_network_of_its_main_cf",
    ),
    r"ssh -L .*": Elsewhere(
        "needs a second host",
        _SITE,
    ),
    r"systemctl edit .*": Elsewhere(
        "opens an editor", "tests/packaging/test_units.py::test_systemd_takes_the_drop_in_for_private_keys"
    ),
    r"smtpguard-transparent .*": Elsewhere(
        "takes routes of another host",
        _ROUTES,
    ),
    r"twist smtpguard.*": Elsewhere(
        "is another program, installed by the wheel",
        _TWIST,
    ),
}

ON_ANOTHER_PAGE: Final[dict[str, tuple[str, str]]] = {
    "README.md": (r"smtpguard setup sendmail --(dry-run|apply|undo)", "docs/deploy-sendmail.md"),
}
"""Commands of a page that would take its machine apart, and the page that has the same and a machine of its own."""

MEANWHILE: Final = r"tcpdump .*"
"""Commands that go on while clients come: a session is held before they are interrupted."""

NAMED: Final = frozenset(
    {
        "systemctl status",
        "systemctl reload",
        "smtpguard bans lift",
        "smtpguard explain",
        "smtpguard setup",
        "smtpguard replay",
        "pip install",
        "chmod 640",
    }
)
"""Commands that are spoken of, without what has to follow; `smtpguard` has them all."""

ENDLESS: Final[dict[str, str]] = {
    r"smtpguard status --watch.*": "ready",
    r"smtpguard demo": "Now you.",
    r"tcpdump .*": "listening on",
    r"(/opt/smtpguard/bin/)?smtpguard run .*": " serves tcp:127.0.0.1:2525",
}
"""Commands that go on until somebody interrupts them, and what they say before."""

STATUS: Final[dict[str, frozenset[int]]] = {
    r"smtpguard audit (HOST|mx\.example\.org)": frozenset({0, 1}),  # 1: a finding
    r"journalctl -k": frozenset({0, 1}),  # 1: no entries
    r"journalctl .* -g .*": frozenset({0, 1}),
}
"""Statuses that are right besides 0, or instead."""

DEAR: Final = r"smtpguard audit .*"
"""Commands that are run once a machine: they take 18 s, since sendmail itself waits."""

IN_PLACE_OF_THE_SERVICE: Final = r"(/opt/smtpguard/bin/)?smtpguard run .*"
"""Commands for which the service is stopped, and started again behind them."""

STAND_INS: Final = (
    (r"smtpguard run --workers 2$", "smtpguard run --config /etc/smtpguard/smtpguard.yaml --workers 2"),
    (r"--config FILE\b", "--config /etc/smtpguard/smtpguard.yaml"),
    (r"--policy FILE\b", "--policy /etc/smtpguard/policy.yaml"),
    (r"\baudit HOST\b", "audit mx.example.org"),
    (r"\bsqlite3 FILE '\.backup COPY'", "sqlite3 /var/lib/smtpguard/smtpguard.db '.backup /root/copy.db'"),
)
"""What stands in a page for what a reader knows better, and what is put in its place."""


def fitting(table: dict[str, Elsewhere] | dict[str, str] | dict[str, frozenset[int]], command: str) -> object | None:
    """Return what a table says of a command, or None."""
    return next((said for pattern, said in table.items() if re.fullmatch(pattern, command)), None)


def typed_as(command: str) -> str:
    """Return a command with its stand-ins replaced."""
    for pattern, text in STAND_INS:
        command = re.sub(pattern, text, command)
    return command
