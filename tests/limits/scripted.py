"""A mail server that says what a test has it say: for what a stock sendmail has no words for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self


class Scripted:
    """Answers each command by its verb, 250 where nothing is said, and takes messages; for a `with` block."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self._answers = {verb.encode(): reply.encode() + b"\r\n" for verb, reply in answers.items()}
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address: tuple[str, int] = self._socket.getsockname()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                connection.sendall(b"220 scripted\r\n")
                for line in lines:
                    verb = line.split()[0].upper() if line.split() else b""
                    connection.sendall(self._answers.get(verb, b"250 ok\r\n"))
                    if verb == b"QUIT":
                        return
                    if verb == b"DATA":
                        while (line := next(lines, b".\r\n")) != b".\r\n":
                            pass
                        connection.sendall(b"250 taken\r\n")
            except OSError:
                return
