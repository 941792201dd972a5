"""A TCP relay that can stop reading from the server: what a player with a stuck network does to its sender."""

from __future__ import annotations

import asyncio
import socket

# Small, so that the kernel holds little of what the server has sent and the server soon sees that nobody reads; but
# several segments of the loopback interface (64 KiB), else the kernel does not tell the sender when there is room again
# and leaves it to its probes, whose interval doubles up to minutes.
RECEIVE_BUFFER_BYTES = 262_144
CHUNK_BYTES = 65_536


class TCPRelay:
    """Listens on `port` and joins each connection to the target. While `stall()` lasts nothing is read from the target;
    the other direction goes on."""

    def __init__(self, target: tuple[str, int]):
        self.target = target
        self.running = asyncio.Event()
        self.running.set()
        self.connections = 0
        self.tasks: set[asyncio.Task] = set()

    async def __aenter__(self) -> "TCPRelay":
        self.server = await asyncio.start_server(self._serve, "0.0.0.0", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def stall(self) -> None:
        self.running.clear()

    def go_on(self) -> None:
        self.running.set()

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        upstream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        upstream.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(upstream, self.target)
        for pump in (self._down(upstream, client_writer), self._up(client_reader, upstream)):
            task = asyncio.create_task(pump)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _down(self, upstream: socket.socket, writer: asyncio.StreamWriter) -> None:
        """Server to player. Read by hand: a StreamReader would go on reading into its own buffer."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self.running.wait()
                data = await loop.sock_recv(upstream, CHUNK_BYTES)
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
            upstream.close()

    async def _up(self, reader: asyncio.StreamReader, upstream: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(CHUNK_BYTES):
                await loop.sock_sendall(upstream, data)
        except OSError:
            pass
