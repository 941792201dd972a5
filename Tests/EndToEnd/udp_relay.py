"""A UDP relay that loses packets of media: what a bad network does to a publisher. DTLS, STUN and RTCP pass."""

from __future__ import annotations

import asyncio
import random
import socket

RTCP_TYPES = range(192, 224)


def is_media(datagram: bytes) -> bool:
    """RTP and not RTCP (RFC 7983, RFC 5761)."""
    return len(datagram) > 12 and 128 <= datagram[0] < 192 and datagram[1] not in RTCP_TYPES


class UDPRelay:
    """Listens on `port` and carries datagrams to the target and back, for each client by a socket of its own. Of the
    media packets towards the target a share `loss` is lost, by a seed."""

    def __init__(self, target: tuple[str, int], loss: float = 0.0, seed: int = 5):
        self.target, self.loss = target, loss
        self.random = random.Random(seed)
        self.clients: dict[tuple, asyncio.DatagramTransport] = {}
        self.passed = self.lost = 0

    async def __aenter__(self) -> "UDPRelay":
        loop = asyncio.get_running_loop()
        self.outside, _ = await loop.create_datagram_endpoint(lambda: _Outside(self), local_addr=("0.0.0.0", 0))
        for transport in (self.outside,):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self.port = self.outside.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_) -> None:
        self.outside.close()
        for transport in self.clients.values():
            transport.close()

    def drops(self, datagram: bytes) -> bool:
        if not is_media(datagram):
            return False
        self.passed += 1
        is_lost = self.random.random() < self.loss
        self.lost += is_lost
        return is_lost

    async def inside(self, client: tuple) -> None:
        loop = asyncio.get_running_loop()
        made, _ = await loop.create_datagram_endpoint(lambda: _Inside(self, client), remote_addr=self.target)
        self.clients[client] = made


class _Outside(asyncio.DatagramProtocol):
    def __init__(self, relay: UDPRelay):
        self.relay = relay
        self.opening: set[tuple] = set()

    def datagram_received(self, data: bytes, address: tuple) -> None:
        if self.relay.drops(data):
            return
        if transport := self.relay.clients.get(address):
            transport.sendto(data)
        elif address not in self.opening:
            # The client's first check is lost, as a network may lose it; it sends more.
            self.opening.add(address)
            task = asyncio.ensure_future(self.relay.inside(address))
            task.add_done_callback(lambda _: self.opening.discard(address))


class _Inside(asyncio.DatagramProtocol):
    def __init__(self, relay: UDPRelay, client: tuple):
        self.relay, self.client = relay, client

    def datagram_received(self, data: bytes, _address: tuple) -> None:
        self.relay.outside.sendto(data, self.client)
