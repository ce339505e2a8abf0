"""Mail servers that follow a script, and break the protocol where a real one would not."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.rig.wait import wait_until


class Conversation:
    """One connection to a scripted backend."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.lines: list[bytes] = []
        """What was read, without line ends; the last may lack its own."""
        self.over = False
        self._rest = b""

    def say(self, octets: bytes) -> None:
        self.connection.sendall(octets)

    def line(self) -> bytes:
        """Read one line; EOFError at the end."""
        while b"\n" not in self._rest:
            part = self.connection.recv(65536)
            if not part:
                if self._rest:
                    self.lines.append(self._rest)
                raise EOFError
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        self.lines.append(line.rstrip(b"\r"))
        return self.lines[-1]

    def end(self) -> str:
        """Wait for the end of the connection beneath TLS: FIN, or reset."""
        try:
            while socket.socket.recv(self.connection, 65536):
                pass
        except ConnectionResetError:
            return "reset"
        return "FIN"

    def secure(self, context: ssl.SSLContext) -> None:
        """Shake hands as the server."""
        self.connection = context.wrap_socket(self.connection, server_side=True)

    def serve(self, offers: bytes = b"8BITMIME") -> None:
        """Be a mail server that answers everything until QUIT."""
        while (line := self.line()) != b"QUIT":
            self.say(b"250-backend\r\n250 " + offers + b"\r\n" if line.startswith(b"EHLO") else b"250 ok\r\n")
        self.say(b"221 bye\r\n")


class ScriptedBackend:
    """A server at a free port of 127.0.0.1; `act` is what it does with each connection, in a thread of its own.

    What an act raises on a connection that ended is expected; anything else is raised when the block is left.
    """

    def __init__(self, act: Callable[[Conversation], None]) -> None:
        self._act = act
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._threads: list[threading.Thread] = []
        self._failed: list[Exception] = []
        self.conversations: list[Conversation] = []

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._listener, *(conversation.connection for conversation in self.conversations)):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for one in (self._listener, *(conversation.connection for conversation in self.conversations)):
            one.close()
        if kind is None and self._failed:
            raise self._failed[0]

    def over(self, count: int = 1, seconds: float = 20) -> list[Conversation]:
        """Wait until so many connections came and all have ended."""

        def ended() -> bool:
            found = list(self.conversations)
            return len(found) >= count and all(one.over for one in found)

        wait_until(ended, f"{count} connections to end", seconds, lambda: f"{[c.lines for c in self.conversations]}")
        return list(self.conversations)

    def _run(self, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work, name="scripted-backend", daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            conversation = Conversation(connection)
            self.conversations.append(conversation)
            self._run(lambda conversation=conversation: self._serve(conversation))  # type: ignore[misc]

    def _serve(self, conversation: Conversation) -> None:
        try:
            self._act(conversation)
        except (OSError, EOFError):
            pass
        except Exception as error:  # noqa: BLE001 - it is raised again where the test can see it
            self._failed.append(error)
        with contextlib.suppress(OSError):
            conversation.connection.close()
        conversation.over = True


def obliging(talk: Conversation) -> None:
    """Be a mail server that answers everything."""
    talk.say(b"220 backend\r\n")
    talk.serve()


def up_to_starttls(talk: Conversation) -> None:
    """Offer STARTTLS until it comes; it is not answered."""
    talk.say(b"220 backend\r\n")
    while (line := talk.line()) != b"STARTTLS":
        talk.say(b"250-backend\r\n250 STARTTLS\r\n" if line.startswith(b"EHLO") else b"250 ok\r\n")


def upgrading(context: ssl.SSLContext) -> Callable[[Conversation], None]:
    """Return a mail server with STARTTLS."""

    def act(talk: Conversation) -> None:
        up_to_starttls(talk)
        talk.say(b"220 go\r\n")
        talk.secure(context)
        talk.serve()

    return act
