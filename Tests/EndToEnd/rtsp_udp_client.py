"""The RTSP client by hand, whose packets come by UDP."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time

from rtsp_client import Answer, Packet, RtspClient

HOST = "127.0.0.1"
PAIR_ATTEMPTS = 50
FIRST_PORT, LAST_PORT = 20_000, 60_000
RECEIVE_BUFFER = 1 << 21


def bound_pair() -> tuple[socket.socket, socket.socket]:
    """Two sockets on neighbouring ports, the first an even one."""
    for _ in range(PAIR_ATTEMPTS):
        rtp, rtcp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        try:
            rtp.bind((HOST, 0))
            port = rtp.getsockname()[1]
            if port % 2 == 0:
                rtcp.bind((HOST, port + 1))
                for one in (rtp, rtcp):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
                return rtp, rtcp
        except OSError:
            pass
        rtp.close()
        rtcp.close()
    raise AssertionError("no free pair of ports")


class RtspUdpClient(RtspClient):
    """Channel `2i` holds what comes to the RTP port of track `i`, `2i + 1` to its RTCP port."""

    async def __aenter__(self) -> "RtspUdpClient":
        await super().__aenter__()
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        #: Of each track: ours, the server's, and the source that it named.
        self.ports: list[tuple[int, int]] = []
        self.server_ports: list[tuple[int, int]] = []
        self.sources: list[int] = []
        #: Where datagrams came from, by channel.
        self.senders: dict[int, set[tuple[str, int]]] = {}
        self.hearing: list[asyncio.Task] = []
        return self

    async def __aexit__(self, *_) -> None:
        for task in self.hearing:
            task.cancel()
        await asyncio.gather(*self.hearing, return_exceptions=True)
        for one in (one for pair in self.pairs for one in pair):
            one.close()
        await super().__aexit__()

    async def set_up_track(self, control: str, **parameters: str) -> Answer:
        """SETUP of the next track; parameters are added to the transport."""
        pair = bound_pair()
        ports = tuple(one.getsockname()[1] for one in pair)
        more = "".join(f";{key}={value}" for key, value in parameters.items())
        own = f"client_port={ports[0]}-{ports[1]}"
        if "client_port" in parameters:
            own = f"client_port={parameters['client_port']}"
            more = more.replace(f";{own}", "")
        answer = await self.ask("SETUP", control, Transport=f"RTP/AVP;unicast;{own}{more}")
        if answer.status != 200:
            for one in pair:
                one.close()
            return answer
        self.pairs.append(pair)
        self.session = answer.headers["session"].split(";")[0]
        transport = answer.headers["transport"]
        self.ports.append(ports)
        self.server_ports.append(tuple(map(int, re.search(r"server_port=(\d+)-(\d+)", transport).groups())))
        self.sources.append(int(re.search(r"ssrc=([0-9a-fA-F]+)", transport)[1], 16))
        for i, one in enumerate(pair):
            one.setblocking(False)
            self.hearing.append(asyncio.create_task(self._hear(one, 2 * (len(self.ports) - 1) + i)))
        return answer

    async def set_up(self) -> None:
        for track in self.tracks:
            answer = await self.set_up_track(track.control)
            assert answer.status == 200, answer

    async def _hear(self, one: socket.socket, channel: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data, sender = await loop.sock_recvfrom(one, 2048)
            self.senders.setdefault(channel, set()).add(sender)
            self.packets.append(Packet(channel, data, time.monotonic()))
            async with self.news:
                self.news.notify_all()

    def report(self) -> None:
        """An empty receiver report of the first track: a sign of life."""
        self.pairs[0][1].sendto(struct.pack(">BBHI", 0x80, 201, 1, 1), (HOST, self.server_ports[0][1]))

    def last_arrival(self) -> float:
        return max((packet.arrival for packet in self.packets), default=0.0)
