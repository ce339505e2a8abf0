"""Recipients that are taken for ours are ours to a real sendmail too, which relays for the same domains only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random  # noqa: TID251 - seeded

import pytest

from smtpguard.config.relay_files import read_relay_domains
from smtpguard.policy.relaying import RelayDomains
from tests.rig.sendmail import RealSendmail

from .support import OUTSIDE, hello

CLASS_R = ("example.org", ".example.net", "[192.0.2.25]")
RCPTS = 4000
PIECES = (
    b"@", b"@@", b"%", b"!", b"^", b":", b"::", b";", b",", b".", b"..", b"<", b">", b" ", b"\t", b"\"", b"\\",
    b"(x)", b"(", b"@example.org", b"@elsewhere.example", b"%elsewhere.example", b"elsewhere.example!",
    b"@elsewhere.example:", b"root", b"@x.test", b"x.test!", b"example.org", b"mx.example.net", b"[192.0.2.25]", b"/",
    b"|", b"=", b"+", b"-", b"'", b"`", b"$", b"{", b"#", b"~", b"&", b"*", b"?", b"_", b"\x7f", b"\x1c", b"\xc3\xa9",
    b"\xa5", b"\xc0", b"a", b"NOTIFY=NEVER", b"[", b"]",
)  # fmt: skip
BEGUN_WITH = (
    b"TO:<nobody@example.org>", b"TO: <nobody@EXAMPLE.org> NOTIFY=NEVER", b"to:<no.body+tag@mx.example.net>",
    b"TO:<nobody@[192.0.2.25]>", b"TO:<no_body@a.b.example.net> ORCPT=rfc822;nobody@elsewhere.example",
)  # fmt: skip


PARAMETERS = {one.partition(b">")[2].strip(b" ") for one in BEGUN_WITH}


@pytest.fixture(scope="module")
def relaying() -> Iterator[RealSendmail]:
    """A sendmail that relays for CLASS_R and for nothing and nobody else."""
    with RealSendmail(extra_mc="".join(f"RELAY_DOMAIN(`{entry}')dnl\n" for entry in CLASS_R)) as server:
        yield server


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> RelayDomains:
    """What is read of such a class, from its file."""
    file = tmp_path_factory.mktemp("class") / "relay-domains"
    file.write_text("".join(f"{entry}\n" for entry in CLASS_R))
    entries, faults = read_relay_domains(file)
    assert faults == []
    return RelayDomains(entries)


def codes(server: RealSendmail, arguments: list[bytes]) -> list[int]:
    """Return what sendmail answers to each RCPT, in transactions of an outsider's."""
    answers: list[int] = []
    while len(answers) < len(arguments):
        with hello(server.port, OUTSIDE) as client:
            # In parts: a session that is refused too often is slowed.
            for argument in arguments[len(answers) : len(answers) + 20]:
                assert client.say("RSET").startswith("250 ")
                assert client.say("MAIL FROM:<a@b.example>").startswith("250 ")
                answers.append(int(client.say(b"RCPT " + argument)[:3]))
    return answers


def arguments_of(seed: int) -> list[bytes]:
    """Return arguments made of good ones, in which a few pieces were put, and a few octets left out."""
    random = Random(seed)
    made = []
    for _ in range(RCPTS):
        octets = random.choice(BEGUN_WITH)
        for _ in range(random.randint(0, 3)):
            at = random.randint(3, len(octets))
            octets = octets[:at] + random.choice(PIECES) + octets[at + random.choice((0, 0, 1, 2)) :]
        made.append(octets)
    return made


@pytest.mark.parametrize(
    ("recipient", "is_ours"),
    [
        ("nobody@example.org", True),
        ("nobody@mx.example.org", True),
        ("nobody@a.b.Example.ORG", True),
        ("nobody@example.net", False),
        ("nobody@mx.example.net", True),
        ("nobody@[192.0.2.25]", True),
        ("nobody@[192.0.2.26]", False),
        ("nobody@notexample.org", False),
        ("nobody@example.org.elsewhere.example", False),
        ("nobody@elsewhere.example", False),
        ("postmaster", True),
    ],
)
def test_a_class_of_sendmail_means_here_what_it_means_there(
    relaying: RealSendmail, domains: RelayDomains, recipient: str, is_ours: bool
) -> None:
    """For recipients that leave no doubt."""
    argument = f"TO:<{recipient}>".encode()
    assert domains.accepts(argument) is is_ours
    assert codes(relaying, [argument]) == [250 if is_ours else 550]


@pytest.mark.parametrize("seed", [1])
def test_what_is_taken_is_read_by_sendmail_as_one_of_the_domains(
    relaying: RealSendmail, domains: RelayDomains, seed: int
) -> None:
    """It relays for nothing else, and has no user of these names; so 250 is for the domain that was meant.

    And it is worth looking: of those that end in one of the domains, for whoever looks at the end
    only, it takes many for something else.
    """
    arguments = [one for one in dict.fromkeys(arguments_of(seed)) if b"\r" not in one and b"\n" not in one]
    taken = [one for one in arguments if domains.accepts(one)]
    not_taken = [one for one in arguments if not domains.accepts(one)]
    assert len(taken) >= 150
    for argument, code in zip(taken, codes(relaying, taken), strict=True):
        # It may not like a parameter: 501 or 555.  Then it does not relay either.
        parameters = argument.partition(b">")[2].strip(b" ")
        assert code == 250 or (parameters not in PARAMETERS and code in (501, 555)), argument
    naive = [one for one in not_taken if re.search(rb"(?i)@(example\.org|[a-z.]+\.example\.net)>( |\Z)", one)]
    elsewhere = [one for one, code in zip(naive, codes(relaying, naive), strict=True) if code != 250]
    assert len(elsewhere) >= 50
