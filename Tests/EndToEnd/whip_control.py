"""A receiver that is not Weir: what a WHIP publisher says itself about its sound and pictures, by its sender reports.

aiortc takes the media; every frame is placed by its RTP timestamp and the sender report nearest to it (RFC 3550 section
6.4.1). This is the control of recordings of browsers, whose own clocks of sound and pictures are not exactly one.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtcpSrPacket

from recorded_media import Recorded

RATES = {"video": 90_000, "audio": 48_000}
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*", "Access-Control-Allow-Methods": "*",
        "Access-Control-Expose-Headers": "*"}


class WhipControl:
    """Serves one publisher at `url`. Leaving the context ends it; `result` then says what was received."""

    def __init__(self):
        self.frames: dict[str, list] = {"video": [], "audio": []}
        self.reports: dict[str, list[tuple[float, int]]] = {"video": [], "audio": []}
        self.tasks: list[asyncio.Task] = []
        self.pc = RTCPeerConnection()

    async def __aenter__(self) -> "WhipControl":
        application = web.Application()
        application.router.add_route("*", "/whip", self._serve)
        self.runner = web.AppRunner(application)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/whip"
        return self

    async def __aexit__(self, *_) -> None:
        await self.pc.close()
        await asyncio.gather(*self.tasks)
        await self.runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        if request.method != "POST":
            return web.Response(headers=CORS)
        self.pc.on("track", self._on_track)
        await self.pc.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        for transceiver in self.pc.getTransceivers():
            self._watch(transceiver.receiver, transceiver.kind)
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return web.Response(status=201, text=self.pc.localDescription.sdp,
                            headers={**CORS, "Location": self.url, "Content-Type": "application/sdp"})

    def _on_track(self, track) -> None:
        self.tasks.append(asyncio.ensure_future(self._consume(track)))

    async def _consume(self, track) -> None:
        try:
            while True:
                self.frames[track.kind].append(await track.recv())
        except MediaStreamError:
            pass

    def _watch(self, receiver, kind: str) -> None:
        handle = receiver._handle_rtcp_packet

        async def watched(packet) -> None:
            if isinstance(packet, RtcpSrPacket):
                info = packet.sender_info
                self.reports[kind].append((info.ntp_timestamp / (1 << 32), info.rtp_timestamp))
            await handle(packet)

        receiver._handle_rtcp_packet = watched

    def result(self) -> Recorded:
        """What was received, on the publisher's wall clock."""
        out = Recorded()
        for kind, rate in RATES.items():
            assert self.reports[kind], f"no sender report of {kind}"
            for frame in self.frames[kind]:
                distances = [((frame.pts - stamp + (1 << 31)) % (1 << 32) - (1 << 31), ntp)
                             for ntp, stamp in self.reports[kind]]
                ticks, ntp = min(distances, key=lambda entry: abs(entry[0]))
                out.take(frame, ntp + ticks / rate)
        return out
