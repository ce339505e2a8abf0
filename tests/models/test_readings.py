"""Where lines, verbs, data and chunks end for each named model, row by row."""

from __future__ import annotations

import pytest

from .exchange import Exchange
from .exim import Exim
from .haraka import Haraka
from .playing import BY_NAME, NAMED, fed, filled, in_transaction, verbs
from .postfix import Postfix, Postfix39
from .sendmail import Sendmail5, Sendmail815, Sendmail817
from .server import Accepted, Server

# Columns: sendmail 4 5 8.6 8.12 8.15 8.17, Postfix 2.8 3.7 3.9, Exim 4.91 4.96, OpenSMTPD 6.8 7.8, notqmail,
# Haraka, aiosmtpd, Exchange.  E it is the end of data, C the server closes, B it is back in command mode,
# - it is content.
HEAD = b"Subject: t\r\n\r\nx"
ENDS = [
    (HEAD + b"\r\n.\r\n", "EEEEEE EEE EE EE EEEE"),
    (b".\r\n", "EEEEEE EEE EE EE EEEE"),
    (HEAD + b"\n.\n", "EEEEEC EE- E- EE CB--"),
    (HEAD + b"\n.\r\n", "EEEEEC EE- E- EE CE--"),
    (HEAD + b"\r\n.\n", "EEEEEC EE- E- EE CB--"),
    (b"a: b\n.\n", "EEEEEC EE- EE EE CB--"),
    (b"a: b\n.\r\n", "EEEEEC EE- EE EE CE--"),
    (b"a: b\n\nx\n.\n", "EEEEEC EE- EE EE CB--"),
    (b".\n", "EEEEEC EE- EE EE CB--"),
    (HEAD + b"\r\n.\r\r\n", "-----C EE- -- -- ----"),
    (HEAD + b"\r\n.\r\r\r\r\r\n", "-----C EE- -- -- ----"),
    (HEAD + b"\r\n.\0\r\n", "EEE--- --- -- EE ----"),
    (HEAD + b"\r\n.\0junk\r\n", "EEE--- --- -- EE ----"),
    (HEAD + b"\r.\rz", "-----C --- -- -- ----"),
    (HEAD + b"\r.\r\n", "-----C --- -- -- ----"),
    (HEAD + b"\r\n.\rz", "-----C --- -- -- ----"),
    (HEAD + b"\r\n\r.\r\n", "-----C --- -- -- ----"),
    (HEAD + b"\n\r.\n\rz", "-----C --- -- -- C---"),
    (HEAD + b"\r\r\n.\r\n", "EEEEEC EEE EE EE EEEE"),
    (HEAD + b"\r\n. \r\n", "------ --- -- -- ----"),
    (HEAD + b"\r\n.\x0c\r\n", "------ --- -- -- ----"),
    (HEAD + b"\r\n..\r\n", "------ --- -- -- ----"),
    (HEAD + b"\r\n" + b"A" * 2047 + b".\r\n", "--E--- --- -- C- ----"),
    (HEAD + b"\r\n" + b"A" * 2499 + b".\r\n", "EE---- --- -- C- ----"),
    (HEAD + b"\r\n\xae\r\n", "EEE--- --- -- -- ----"),
]


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize(("content", "row"), ENDS, ids=lambda value: repr(value)[-40:])
def test_what_ends_the_data(content: bytes, row: str, size: int | None) -> None:
    outcome = ""
    for make in NAMED:
        server = in_transaction(make())
        server.feed(b"DATA\r\n")
        replies = fed(server, content, size)
        outcome += "E" if server.messages else "C" if server.closed else "B" if replies else "-"
    assert outcome == row.replace(" ", "")


# E it looks up VRFY, C it closes and does not, - it does not.
LINES = [
    (b"VRFY root\r\n", "EEEEEE EEE EE EE EEEE"),
    (b"vRfY root\r\n", "EEEEEE EEE EE EE EEEE"),
    (b"VRFY\r\n", "EEEEEE EEE EE EE EEEE"),
    (b"VRFY root\n", "EEEEEE EEE EE EE EEE-"),
    (b"NOOP\nVRFY root\r\n", "EEEEEE EEE EE CC EEE-"),
    (b"NOOP\rVRFY root\r\n", "------ --- -- -- ----"),
    (b"VRFY root\r\r\n", "EEEEEE EEE EE EE E-EE"),
    (b"VRFY\rroot\r\n", "EEEEEE EEE -- -- ----"),
    (b"VRFY\x0broot\r\n", "EEEEEE EEE -- -- ----"),
    (b"VRFY\troot\r\n", "EEEEEE EEE -- -- ----"),
    (b" VRFY root\r\n", "EEEEEE EEE -- -- ----"),
    (b"\r\x0c\tVRFY root\r\n", "EEEEEE EEE -- -- ----"),
    (b"VRFY root\0junk\r\n", "EEEEEE EEE -- EE EEEE"),
    (b"VRFY\0junk\r\n", "EEEEEE EEE -- EE E---"),
    (b"NOOP\0VRFY root\r\n", "------ --- -- -- ----"),
    (b"\0VRFY root\r\n", "------ --- -- -- ----"),
    (b"VRFYX root\r\n", "------ --- -- -- ----"),
    (b"VRFX\x08Y root\r\n", "------ --- -- -- ----"),
    (b"\xa0VRFY root\r\n", "------ --- -- -- ----"),
    (filled(255), "E----- --- -- -- ----"),
    (filled(512), "------ --- -- -- -C--"),
    (filled(1023), "-E---- --- -- -- -C--"),
    (filled(2047), "--EEEC --- -- C- -C--"),
    (filled(2048), "-----C E-- -- C- -C--"),
    (filled(16385), "-----C --- EE C- -C-C"),
]


@pytest.mark.parametrize(("octets", "row"), LINES, ids=lambda value: repr(value)[-40:])
def test_where_a_command_begins_and_ends(octets: bytes, row: str) -> None:
    outcome = ""
    for make in NAMED:
        server = in_transaction(make())
        server.feed(octets)
        outcome += "E" if b"VRFY" in verbs(server) else "C" if server.closed else "-"
    assert outcome == row.replace(" ", "")


def test_a_partial_line_is_run_at_the_end_by_sendmail() -> None:
    """And by no other: they all want the LF."""
    run = set()
    for make in NAMED:
        server = in_transaction(make())
        server.feed(b"VRFY root")
        server.finish()
        if b"VRFY" in verbs(server):
            run.add(make.name)
        assert server.closed
    assert run == {make.name for make in NAMED if make.name.startswith("sendmail")}


CHUNK = b"VRFY root\r\nEXPN list\r\n"
BOTH, SECOND, NEITHER = [b"VRFY", b"EXPN"], [b"EXPN"], list[bytes]()
CHUNKS = [
    *((make.name, size, BOTH) for make in NAMED[:7] for size in (b"11 LAST", b"11")),
    ("notqmail-1.09", b"11 LAST", BOTH),
    ("haraka-3.1", b"11 LAST", BOTH),
    ("aiosmtpd-1.4.6", b"11 LAST", BOTH),
    *(("postfix-3.7", size, SECOND) for size in (b"11 LAST", b"11", b"11\tlast", b"00000000011 LAST", b"11\r LAST")),
    *(
        ("postfix-3.7", size, NEITHER)
        for size in (b"+11", b"11LAST", b"11 LASTX", b"11 x", b"11.0", b"-1", b"0xb", b"")
    ),
    ("postfix-3.7", b"4294967307", NEITHER),
    *(("exim-4.96", size, SECOND) for size in (b"11 LAST", b"+11", b"11LAST", b"11 LASTX", b"11 x", b"11.0")),
    *(("exim-4.96", size, SECOND) for size in (b"4294967307 LAST", b"11\r LAST")),
    *(("exim-4.96", size, BOTH) for size in (b"0xb", b"", b"1\x001 LAST", b"0")),
    ("exim-4.96", b"-1", NEITHER),
    ("exchange", b"11 LAST", SECOND),
    ("exchange", b"11LAST", NEITHER),
]


@pytest.mark.parametrize(("name", "size", "looked_up"), CHUNKS)
def test_what_of_a_chunk_is_commands(name: str, size: bytes, looked_up: list[bytes]) -> None:
    server = in_transaction(BY_NAME[name]())
    server.feed(b"BDAT " + size + b"\r\n")
    server.feed(CHUNK)
    assert [verb for verb in verbs(server) if verb in (b"VRFY", b"EXPN")] == looked_up


@pytest.mark.parametrize(("name", "looked_up"), [("exim-4.96", BOTH), ("postfix-3.7", SECOND), ("exchange", SECOND)])
def test_a_chunk_where_chunking_was_not_offered(name: str, looked_up: list[bytes]) -> None:
    server = BY_NAME[name]()
    server.feed(b"HELO x.test\r\nBDAT 11 LAST\r\n" + CHUNK)
    assert verbs(server) == [b"HELO", b"BDAT", *looked_up]


@pytest.mark.parametrize("name", ["postfix-3.7", "exim-4.96", "exchange"])
def test_chunks_make_a_message(name: str) -> None:
    server = in_transaction(BY_NAME[name]())
    server.feed(b"BDAT 3\r\nabcBDAT 2 LAST\r\n\r\n")
    assert server.messages == [Accepted(b"abc\r\n", chunked=True)]


def test_exim_wants_bdat_or_rset_behind_a_chunk() -> None:
    server = in_transaction(Exim())
    codes = [reply[:3] for reply in server.feed(b"BDAT 1\r\nxNOOP\r\nVRFY a\r\nNOOP\r\nRSET\r\nVRFY a\r\n")]
    assert codes == [b"250", b"250", b"503", b"503", b"250", b"250"]


def test_haraka_is_back_in_command_mode_behind_a_dot_and_lf() -> None:
    server = in_transaction(Haraka())
    replies = server.feed(b"DATA\r\nx\r\n.\nVRFY root\r\n")
    assert [reply[:3] for reply in replies] == [b"354", b"451", b"252"]


def test_sendmail_refuses_everything_from_who_does_not_wait_behind_ehlo() -> None:
    server = Sendmail817()
    assert [reply[:3] for reply in server.feed(b"EHLO x\r\nVRFY root\r\nQUIT\r\n")] == [b"554", b"454", b"221"]


@pytest.mark.parametrize("make", [Sendmail817, Exim, Postfix39])
def test_input_behind_data_closes(make: type[Server]) -> None:
    server = in_transaction(make())
    (reply,) = server.feed(b"DATA\r\nx")
    assert reply.startswith(b"554")
    assert server.closed


def test_sendmail_tells_of_deliveries_in_verbose_mode() -> None:
    server = in_transaction(Sendmail815())
    replies = server.feed(b"VERB\r\nDATA\r\n.\r\n")
    assert replies[-1].startswith(b"050 <root>... ")


def test_old_sendmail_prints_the_queue_without_a_code() -> None:
    (reply,) = Sendmail5().feed(b"SHOWQ\r\n")
    assert not reply[:3].isdigit()


def test_exchange_counts_the_octets_of_xexch50() -> None:
    server = in_transaction(Exchange())
    replies = server.feed(b"XEXCH50 6 2\r\nVRFY\r\nNOOP\r\n")
    assert [reply[:3] for reply in replies] == [b"354", b"250", b"250"]
    assert b"VRFY" not in verbs(server)


@pytest.mark.parametrize(
    ("name", "length", "outcome"),
    [
        ("postfix-3.7", 12284, b"235 250"),
        ("postfix-3.7", 12292, b"235 250"),
        ("postfix-2.8", 2052, b"235 502 250"),
        ("exim-4.96", 16380, b"235 250"),
        ("exim-4.96", 16388, b"501 500 250"),
        ("opensmtpd-6.8", 2052, b"500"),
        ("sendmail-8.17", 2052, b"421"),
        ("exchange", 12292, b"500"),
    ],
)
def test_where_an_answer_to_a_challenge_ends(name: str, length: int, outcome: bytes) -> None:
    server = BY_NAME[name]()
    for line in (b"EHLO x.test", b"AUTH PLAIN"):
        server.feed(line + b"\r\n")
    replies = server.feed(b"A" * length + b"\r\n")
    if not server.closed:
        replies += server.feed(b"NOOP\r\n")
    assert b" ".join(reply[:3] for reply in replies) == outcome


def test_postfix_believes_xclient() -> None:
    server = Postfix()
    assert server.feed(b"XCLIENT ADDR=127.0.0.1 LOGIN=admin\r\n")[0].startswith(b"220 ")


AUTH = [make for make in NAMED if b"AUTH" in getattr(make, "verbs", {})]


@pytest.mark.parametrize("make", AUTH)
@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        ([b"AUTH PLAIN AGEAYg==", b"VRFY a"], [b"235"]),
        ([b"AUTH PLAIN =", b"VRFY a"], [b"535"]),
        ([b"AUTH PLAIN", b"AGEAYg==", b"VRFY a"], [b"334", b"235"]),
        ([b"AUTH LOGIN", b"VRFY", b"EXPN", b"VRFY a"], [b"334", b"334", b"235"]),
        ([b"AUTH LOGIN", b"*", b"VRFY a"], [b"334", b"501"]),
        ([b"AUTH LOGIN", b"VRFY a", b"VRFY a"], [b"334", b"501"]),
        ([b"AUTH CRAM-MD5", b"VRFY a"], [b"504"]),
        ([b"AUTH", b"VRFY a"], [b"501"]),
    ],
)
def test_one_line_for_each_challenge(make: type[Server], lines: list[bytes], codes: list[bytes]) -> None:
    """What comes behind the last one is a command."""
    server = make()
    server.feed(b"EHLO x.test\r\n")
    replies = [reply for line in lines for reply in server.feed(line + b"\r\n")]
    assert [reply[:3] for reply in replies[:-1]] == codes
    assert verbs(server) == [b"EHLO", b"AUTH", b"VRFY"]
