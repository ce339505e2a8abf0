"""What libFuzzer may insert into a file of YAML."""

from __future__ import annotations

from typing import Final

WORDS: Final = (
    b"- ", b": ", b"\n", b"\n  ", b"\n    - ", b"{", b"}", b"[", b"]", b"*a", b"&a ", b"!a ", b"!!str ", b"<<: ",
    b"? ", b"---\n", b"...\n", b"#", b"|\n", b">-\n", b"'", b'"', b"\\n", b"\\x1b", b"\t", b"~", b"null", b"true",
    b"no", b"%YAML 1.1\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3\xa9", b"\xc2\x85", b"\xe2\x80\xa8", b"\0", b"\x80",
    b"0", b"1e9", b"-1", b".5", b"1.5",
)  # fmt: skip
