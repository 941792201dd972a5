"""A WHIP/WHEP server that has nothing of Weir: aiortc's SDP, full ICE, DTLS and SRTP behind aiohttp, in a process of
its own. It forwards a publisher's packets to its players as they are; only the RTP header is rewritten.

    python aiortc_sfu.py       prints its port, then serves on 127.0.0.1 until SIGTERM

    POST   /rooms/{name}/ingest                publishes; 201, or 409 while the room has a publisher
    POST   /rooms/{name}/egress                plays; 201, or 404
    POST   /rooms/{name}/egress?reencoded=1    plays media whose end is not what was published, as of a transcoder
    DELETE /sessions/{number}                  ends either
    GET    /sessions                           {"open": …, "made": …, "deleted": …}
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import sys

from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc import RTCSessionDescription, clock, rtcpeerconnection, rtcrtpreceiver
from aiortc.codecs import is_rtx
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket, RtpPacket, unwrap_rtx, wrap_rtx

# Packets of one track that a player can ask for again: at 2 Mbit/s of video about 2.5 s.
HISTORY = 512
SEQUENCES, TIMESTAMPS = 1 << 16, 1 << 32
# A publisher is asked for a key frame this often at most.
KEY_FRAME_SECONDS = 0.5
# Of a re-encoded packet so much is different; any mark that the publisher wrote lies there.
REENCODED_BYTES = 32


def discard_frames(loop, input_q, output_q, decode_error) -> None:
    """In the place of aiortc's decoder: what is forwarded untouched need not be decoded."""
    while input_q.get() is not None:
        pass
    asyncio.run_coroutine_threadsafe(output_q.put(None), loop)


class Receiver(RTCRtpReceiver):
    """One track of a publisher. aiortc reports, asks for lost packets and for key frames."""

    def __init__(self, kind, transport):
        super().__init__(kind, transport)
        self.senders: set[Sender] = set()
        self.wants_key_frame = False
        self.asked_at = float("-inf")
        self.originals: dict[int, int] = {}

    async def receive(self, parameters) -> None:
        self.originals = {one.payloadType: one.parameters["apt"] for one in parameters.codecs if is_rtx(one)}
        await super().receive(parameters)

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        await super()._handle_rtp_packet(packet, arrival_time_ms)
        original = self.originals.get(packet.payload_type)
        if original is not None:
            if len(packet.payload) < 2:
                return
            packet = unwrap_rtx(packet, payload_type=original, ssrc=0)
        for sender in tuple(self.senders):
            await sender.forward(packet)
        now = asyncio.get_running_loop().time()
        if self.wants_key_frame and now - self.asked_at >= KEY_FRAME_SECONDS:
            self.wants_key_frame, self.asked_at = False, now
            await self._send_rtcp_pli(packet.ssrc)


class Sender(RTCRtpSender):
    """One track of a player, under a source and numbers of its own."""

    source: Receiver | None = None
    is_reencoded = False
    payload_type: int | None = None
    rtx_type: int | None = None
    first: int | None = None
    packets = octets = 0

    async def send(self, parameters) -> None:
        if self.payload_type is None:
            self.payload_type = parameters.codecs[0].payloadType
            self.rtx_type = next((one.payloadType for one in parameters.codecs if is_rtx(one)), None)
            self.history: dict[int, RtpPacket] = {}
            # In the lower half: what is late at the beginning is not of the cycle before (RFC 3711, section 3.3.1).
            self.begin, self.rtx_number = random.randrange(SEQUENCES // 2), random.randrange(SEQUENCES // 2)
            self.shift = random.randrange(TIMESTAMPS)
        await super().send(parameters)
        self.source.senders.add(self)
        self.source.wants_key_frame = True

    async def stop(self) -> None:
        if self.source:
            self.source.senders.discard(self)
        await super().stop()

    async def forward(self, packet: RtpPacket) -> None:
        self.first = packet.sequence_number if self.first is None else self.first
        payload = packet.payload
        if self.is_reencoded:
            payload = payload[:1] + payload[1:-REENCODED_BYTES] + bytes(min(REENCODED_BYTES, max(0, len(payload) - 1)))
        copy = RtpPacket(
            payload_type=self.payload_type, marker=packet.marker, ssrc=self._ssrc, payload=payload,
            sequence_number=(self.begin + packet.sequence_number - self.first) % SEQUENCES,
            timestamp=(packet.timestamp + self.shift) % TIMESTAMPS)
        self.history[copy.sequence_number % HISTORY] = copy
        self.packets, self.octets = self.packets + 1, self.octets + len(payload)
        self.times = clock.current_ntp_time(), copy.timestamp
        await self._transmit(copy)

    async def _retransmit(self, sequence_number: int) -> None:
        copy = self.history.get(sequence_number % HISTORY)
        if copy is None or copy.sequence_number != sequence_number:
            return
        if self.rtx_type is not None:
            copy = wrap_rtx(
                copy, payload_type=self.rtx_type, sequence_number=self.rtx_number, ssrc=self._rtx_ssrc)
            self.rtx_number = (self.rtx_number + 1) % SEQUENCES
        await self._transmit(copy)

    async def _transmit(self, packet: RtpPacket) -> None:
        try:
            await self.transport._send_rtp(packet.serialize())
        except ConnectionError:
            self.source.senders.discard(self)

    def _send_keyframe(self) -> None:
        self.source.wants_key_frame = True

    async def _send_rtcp(self, packets) -> None:
        """aiortc's sender reports know nothing of what is forwarded."""
        if self.packets == 0:
            return
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                ntp, timestamp = self.times
                packet.sender_info = RtcpSenderInfo(
                    ntp_timestamp=ntp, rtp_timestamp=timestamp, packet_count=self.packets % TIMESTAMPS,
                    octet_count=self.octets % TIMESTAMPS)
        await super()._send_rtcp(packets)


class Nothing(MediaStreamTrack):
    """What aiortc itself sends to a player."""

    def __init__(self, kind: str):
        self.kind = kind
        super().__init__()

    async def recv(self):
        return await asyncio.get_running_loop().create_future()


class Rooms:
    """The resources over HTTP."""

    def __init__(self):
        self.publishers: dict[str, RTCPeerConnection] = {}
        self.sessions: dict[str, RTCPeerConnection] = {}
        self.numbers = itertools.count(1)
        self.deleted = 0

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes([
            web.post("/rooms/{name}/ingest", self.ingest), web.post("/rooms/{name}/egress", self.egress),
            web.delete("/sessions/{number}", self.end), web.get("/sessions", self.count)])
        application.on_shutdown.append(self.end_all)
        return application

    async def ingest(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name in self.publishers:
            return web.Response(status=409, text=f"{name} has a publisher")
        self.publishers[name] = peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        return await self.answer(request, peer)

    async def egress(self, request: web.Request) -> web.Response:
        publisher = self.publishers.get(request.match_info["name"])
        if publisher is None:
            return web.Response(status=404, text="nobody publishes that")
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        for transceiver in publisher.getTransceivers():
            sender = peer.addTransceiver(Nothing(transceiver.kind), direction="sendonly").sender
            sender.source = transceiver.receiver
            sender.is_reencoded = "reencoded" in request.query
        return await self.answer(request, peer)

    async def answer(self, request: web.Request, peer: RTCPeerConnection) -> web.Response:
        try:
            await peer.setRemoteDescription(RTCSessionDescription(sdp=await request.text(), type="offer"))
            await peer.setLocalDescription()
        except Exception:
            await self.close(peer)
            raise
        number = str(next(self.numbers))
        self.sessions[number] = peer
        # With the whole address; Weir gives the path alone.
        location = str(request.url.origin().with_path(f"/sessions/{number}"))
        return web.Response(
            status=201, text=peer.localDescription.sdp, content_type="application/sdp", headers={"Location": location})

    async def end(self, request: web.Request) -> web.Response:
        peer = self.sessions.pop(request.match_info["number"], None)
        if peer is None:
            return web.Response(status=404)
        self.deleted += 1
        await self.close(peer)
        return web.Response(status=204)

    async def close(self, peer: RTCPeerConnection) -> None:
        self.publishers = {name: one for name, one in self.publishers.items() if one is not peer}
        await peer.close()

    async def count(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"open": len(self.sessions), "made": self.deleted + len(self.sessions), "deleted": self.deleted})

    async def end_all(self, application: web.Application) -> None:
        for peer in [*self.sessions.values()]:
            await self.close(peer)


async def serve() -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    runner = web.AppRunner(Rooms().application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await stopped.wait()
    await runner.cleanup()


if __name__ == "__main__":
    rtcpeerconnection.RTCRtpReceiver, rtcpeerconnection.RTCRtpSender = Receiver, Sender
    rtcrtpreceiver.decoder_worker = discard_frames
    sys.exit(asyncio.run(serve()))
