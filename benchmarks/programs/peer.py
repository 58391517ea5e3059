"""The service for all contenders: canned answers from one process, so fast that the callers are what is measured.

It prints its port and serves until its standard input ends. The first part of a path says how it behaves:
``/api`` answers, ``/hole`` never does, ``/drip`` sends a byte a second for ever, ``/limit`` asks for an hour's wait.
"""

import asyncio
import socket
import sys

_BODY = (
    b'{"success":true,"operation":"ended","stream_key":"nightly-etl",'
    b'"timestamp":"2026-01-01T00:00:00Z","activity_id":"a"}'
)


def _answer(status: bytes, body: bytes, more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
    return head % (status, more, len(body)) + body


_OK = _answer(b"200 OK", _BODY)
_LIMIT = _answer(b"429 Too Many Requests", b'{"error":"rate_limited"}', b"Retry-After: 3600\r\n")


class _Peer(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        self._received = b""
        behaviour = head.split(b" ", 2)[1].split(b"/", 2)[1]
        if behaviour == b"api":
            self._transport.write(_OK)
        elif behaviour == b"limit":
            self._transport.write(_LIMIT)
        elif behaviour == b"drip":
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
            )
            self._drip()

    def _drip(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b" ")
            asyncio.get_running_loop().call_later(1, self._drip)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Peer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(_serve())
