"""One WebRTC session by WHIP or WHEP whose RTP and RTCP packets are the test's own: ICE, DTLS and SRTP are aiortc's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import aiohttp
from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceGatherer, RTCIceTransport
from aiortc.sdp import SessionDescription, candidate_to_sdp

VIDEO_TYPE, RTX_TYPE, AUDIO_TYPE = 96, 97, 111
FORMAT_PARAMETERS = {
    "VP8": "", "VP9": "profile-id=0", "AV1": "profile=0;level-idx=5;tier=0",
    "H264": "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    "H265": "level-id=93;tx-mode=SRST",
}
CONNECT_LIMIT_SECONDS = 15


@dataclass
class Section:
    """A media section: kind, payload types, and attributes without `a=`."""

    kind: str
    types: list[int]
    attributes: list[str] = field(default_factory=list)

    @classmethod
    def opus(cls) -> "Section":
        return cls("audio", [AUDIO_TYPE], [f"rtpmap:{AUDIO_TYPE} opus/48000/2", f"fmtp:{AUDIO_TYPE} minptime=10"])

    @classmethod
    def video(cls, codec: str) -> "Section":
        one = cls("video", [VIDEO_TYPE], [f"rtpmap:{VIDEO_TYPE} {codec}/90000", f"rtcp-fb:{VIDEO_TYPE} nack pli"])
        if parameters := FORMAT_PARAMETERS[codec]:
            one.attributes.append(f"fmtp:{VIDEO_TYPE} {parameters}")
        return one


class RtpSession:
    resource: str | None = None

    def sections(self) -> list[Section]:
        raise NotImplementedError

    async def on_rtp(self, data: bytes) -> None:
        """A decrypted RTP packet has come."""

    async def on_rtcp(self, data: bytes) -> None:
        """A decrypted RTCP packet, perhaps of several parts, has come."""

    def _offer(self, ice: RTCIceGatherer) -> str:
        own = ice.getLocalParameters()
        fingerprint = next(f for f in self.dtls.getLocalParameters().fingerprints if f.algorithm == "sha-256")
        sections = self.sections()
        bundle = " ".join(str(mid) for mid in range(len(sections)))
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {bundle}"]
        for mid, section in enumerate(sections):
            lines += [
                f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, section.types))}", "c=IN IP4 0.0.0.0",
                f"a=ice-ufrag:{own.usernameFragment}", f"a=ice-pwd:{own.password}",
                f"a=fingerprint:sha-256 {fingerprint.value}", "a=setup:actpass", f"a=mid:{mid}", "a=rtcp-mux",
                *(f"a={one}" for one in section.attributes)]
            lines += [f"a=candidate:{candidate_to_sdp(one)}" for one in ice.getLocalCandidates()]
        return "\r\n".join(lines) + "\r\n"

    async def post(self, url: str) -> None:
        """Opens the session and waits until media can flow."""
        gatherer = RTCIceGatherer(iceServers=[])
        await gatherer.gather()
        self.ice = RTCIceTransport(gatherer)
        self.ice._connection.ice_controlling = True
        self.dtls = RTCDtlsTransport(self.ice, [RTCCertificate.generateCertificate()])
        self.dtls._handle_rtcp_data = self.on_rtcp
        self.dtls._handle_rtp_data = lambda data, arrival_time_ms: self.on_rtp(data)
        offer = self._offer(gatherer)
        async with aiohttp.ClientSession() as session:
            async with session.post(url, data=offer, headers={"Content-Type": "application/sdp"}) as got:
                body = await got.text()
                assert got.status == 201, (url, got.status, body)
                location = got.headers["Location"]
        self.resource = location if "://" in location else url[:url.index("/", 8)] + location
        self.answer = body
        description = SessionDescription.parse(body)
        remote = description.media[0]
        for candidate in remote.ice_candidates:
            await self.ice.addRemoteCandidate(candidate)
        await self.ice.addRemoteCandidate(None)
        self.dtls._set_role("client")
        async with asyncio.timeout(CONNECT_LIMIT_SECONDS):
            await self.ice.start(remote.ice)
            await self.dtls.start(remote.dtls)
        assert self.dtls.state == "connected", self.dtls.state

    async def close(self) -> None:
        """Ends the session at the server, then the connection."""
        if self.resource:
            async with aiohttp.ClientSession() as session:
                async with session.delete(self.resource) as got:
                    assert got.status in (200, 204, 404), got.status
            self.resource = None
        await self.dtls.stop()
        await self.ice.stop()
