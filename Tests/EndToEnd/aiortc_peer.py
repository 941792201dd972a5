"""aiortc as publisher and player by WHIP, WHEP and the WCS WebSocket: a second, independent WebRTC implementation."""

from __future__ import annotations

import asyncio
import fractions

import aiohttp
import av
import numpy
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack

from wcs_client import WcsClient

WIDTH, HEIGHT = 320, 240
AUDIO_RATE = 48_000
AUDIO_FRAME_SAMPLES = 960


class MovingPicture(VideoStreamTrack):
    """A bright bar that walks over a grey ground: neither black nor still."""

    count = 0

    async def recv(self) -> av.VideoFrame:
        timestamp, base = await self.next_timestamp()
        picture = numpy.full((HEIGHT, WIDTH, 3), 70, dtype=numpy.uint8)
        left = (self.count * 8) % (WIDTH - 60)
        picture[60:180, left:left + 60] = (240, 200, 40)
        self.count += 1
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = timestamp, base
        return frame


class Tone(AudioStreamTrack):
    """A 440 Hz sine, 20 ms a frame."""

    position = 0

    async def recv(self) -> av.AudioFrame:
        if self.position == 0:
            self.begin = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, self.begin + self.position / AUDIO_RATE - asyncio.get_running_loop().time()))
        time = (numpy.arange(AUDIO_FRAME_SAMPLES) + self.position) / AUDIO_RATE
        wave = (numpy.sin(2 * numpy.pi * 440 * time) * 8000).astype(numpy.int16)
        frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = AUDIO_RATE, self.position
        frame.time_base = fractions.Fraction(1, AUDIO_RATE)
        self.position += AUDIO_FRAME_SAMPLES
        return frame


class AiortcPeer:
    """One peer connection with the resource that the server made for it."""

    def __init__(self):
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.frames = 0
        self.luma_mean = 0.0
        self.luma_variance = 0.0
        self.audio_peak = 0
        self.tasks: list[asyncio.Task] = []
        self.resource: str | None = None

    def send(self, codec: str | None, video: bool = True, audio: bool = True) -> None:
        if audio:
            self.pc.addTransceiver(Tone(), direction="sendonly")
        if video:
            self.picture = MovingPicture()
            transceiver = self.pc.addTransceiver(self.picture, direction="sendonly")
            self._prefer(transceiver, codec)

    def receive(self, codec: str | None = None, video: bool = True, audio: bool = True, decode: bool = True) -> None:
        @self.pc.on("track")
        def on_track(track):
            if decode:
                self.tasks.append(asyncio.ensure_future(self._consume(track)))
            else:
                sink = MediaBlackhole()
                sink.addTrack(track)
                self.tasks.append(asyncio.ensure_future(sink.start()))
        if audio:
            self.pc.addTransceiver("audio", direction="recvonly")
        if video:
            self._prefer(self.pc.addTransceiver("video", direction="recvonly"), codec)

    @staticmethod
    def _prefer(transceiver, codec: str | None) -> None:
        if codec:
            offered = RTCRtpSender.getCapabilities("video").codecs
            wanted = [c for c in offered if c.mimeType.lower() == f"video/{codec.lower()}"]
            transceiver.setCodecPreferences(wanted + [c for c in offered if c.mimeType.lower() == "video/rtx"])

    async def _consume(self, track) -> None:
        try:
            while True:
                frame = await track.recv()
                if track.kind == "audio":
                    self.audio_peak = max(self.audio_peak, int(numpy.abs(frame.to_ndarray()).max()))
                else:
                    self.frames += 1
                    if self.frames % 5 == 0:
                        luma = frame.to_ndarray(format="gray")
                        self.luma_mean, self.luma_variance = float(luma.mean()), float(luma.var())
        except MediaStreamError:
            pass

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def accept(self, answer: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def post(self, url: str) -> None:
        """WHIP or WHEP: POST of the offer, the answer applied."""
        async with aiohttp.ClientSession() as session:
            async with session.post(url, data=await self.offer(), headers={"Content-Type": "application/sdp"}) as got:
                body = await got.text()
                assert got.status == 201, (url, got.status, body)
                location = got.headers["Location"]
        self.resource = location if "://" in location else url[:url.index("/", 8)] + location
        await self.accept(body)

    async def connected(self, limit: float = 10.0) -> None:
        end = asyncio.get_running_loop().time() + limit
        while self.pc.connectionState != "connected":
            assert self.pc.connectionState not in ("failed", "closed"), self.pc.connectionState
            assert asyncio.get_running_loop().time() < end, f"connection is {self.pc.connectionState}"
            await asyncio.sleep(0.02)

    async def wait_frames(self, count: int, limit: float = 10.0) -> None:
        end = asyncio.get_running_loop().time() + limit
        while self.frames < count:
            assert asyncio.get_running_loop().time() < end, f"only {self.frames} frames of {count}"
            await asyncio.sleep(0.05)

    async def wait_audio(self, peak: int, limit: float = 10.0) -> None:
        """Waits for a sample that is at least so loud."""
        end = asyncio.get_running_loop().time() + limit
        while self.audio_peak < peak:
            assert asyncio.get_running_loop().time() < end, f"loudest sample is {self.audio_peak}"
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await self.pc.close()
        if self.resource:
            async with aiohttp.ClientSession() as session:
                async with session.delete(self.resource) as got:
                    assert got.status in (200, 204, 404), got.status
            self.resource = None


async def wcs_publish(client: WcsClient, name: str, codec: str | None = "VP8", **media) -> tuple[AiortcPeer, str]:
    """Publishes through a WCS session and waits for PUBLISHING."""
    peer = AiortcPeer()
    peer.send(codec, **media)
    identifier = await client.publish(name, await peer.offer())
    await peer.accept(await client.answer(identifier))
    await client.status(identifier, "PUBLISHING")
    return peer, identifier


async def wcs_play(client: WcsClient, name: str, **media) -> tuple[AiortcPeer, str]:
    """Plays through a WCS session and waits for PLAYING."""
    peer = AiortcPeer()
    peer.receive(**media)
    identifier = await client.play(name, await peer.offer())
    await peer.accept(await client.answer(identifier))
    await client.status(identifier, "PLAYING")
    return peer, identifier
