"""A client of the WCS WebSocket protocol without a browser: it sees every message as it was on the wire."""

from __future__ import annotations

import asyncio
import json
import uuid

import websockets

DEFAULT_LIMIT_SECONDS = 8.0
TERMINAL = ("FAILED", "STOPPED", "UNPUBLISHED")
# Refusals of a request, which say nothing about a stream that has the same id.
REFUSED_IDS = ("MediaSessionId is null", "MediaSessionId is already in use")


class WcsClient:
    """Keeps what was received; `expect` takes the next message that fits. Pings are answered in the background."""

    def __init__(self, url: str, answer_pings: bool = True):
        self.url = url
        self.answer_pings = answer_pings
        self.pings = 0
        self.inbox: list[dict] = []
        self.arrived = asyncio.Condition()
        self.closed = False
        self.ended: set[str] = set()
        self.answered: set[str] = set()

    def _check(self, message: dict, text: str) -> None:
        """Rules for every message to a client; one that breaks a rule fails the test when the client is closed."""
        name, data = message["message"], message.get("data")
        assert isinstance(data, list), f"data must be an array: {text[:200]}"
        assert name != "registered", "only for sessions with SIP: streams would throw in the SDK"
        if name == "setRemoteSDP":
            assert len(data) == 3 and isinstance(data[2], bool), f"isInitiator is missing: {text[:200]}"
            assert data[0] not in self.answered, f"second answer: {text[:200]}"
            self.answered.add(data[0])
        elif name == "notifyStreamStatusEvent":
            identifier = data[0].get("mediaSessionId")
            assert identifier is not None and data[0].get("status") and "available" not in data[0], text[:200]
            refused = data[0].get("info") in REFUSED_IDS
            assert identifier not in self.ended or refused, f"after the terminal status: {text[:200]}"
            if data[0]["status"] in TERMINAL and not refused:
                self.ended.add(identifier)

    async def __aenter__(self) -> "WcsClient":
        self.socket = await websockets.connect(self.url, max_size=None, ping_interval=None)
        self.reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_) -> None:
        await self.socket.close()
        await self.reader

    async def _read(self) -> None:
        try:
            async for text in self.socket:
                assert isinstance(text, str), "binary frame on the signalling socket"
                message = json.loads(text)
                self._check(message, text)
                if message["message"] == "ping":
                    self.pings += 1
                    if self.answer_pings:
                        await self.send("pong", None)
                    continue
                async with self.arrived:
                    self.inbox.append(message)
                    self.arrived.notify_all()
        except websockets.ConnectionClosed:
            pass
        finally:
            self.closed = True
            async with self.arrived:
                self.arrived.notify_all()

    async def send(self, name: str, payload) -> None:
        await self.socket.send(json.dumps({"message": name, "data": [payload]}))

    async def expect(self, name: str, fits=lambda data: True, limit: float = DEFAULT_LIMIT_SECONDS) -> list:
        """`data` of the first received message of that name for which `fits(data)`; it leaves the inbox."""
        async def take() -> list:
            async with self.arrived:
                while True:
                    for index, message in enumerate(self.inbox):
                        if message["message"] == name and fits(message["data"]):
                            return self.inbox.pop(index)["data"]
                    assert not self.closed, f"socket closed while waiting for {name}; inbox {self._summary()}"
                    await self.arrived.wait()
        try:
            return await asyncio.wait_for(take(), limit)
        except asyncio.TimeoutError:
            raise AssertionError(f"no {name} within {limit} s; inbox {self._summary()}") from None

    def _summary(self) -> str:
        return json.dumps(self.inbox)[:1500]

    async def connect(self, **options) -> dict:
        await self.send("connection", {
            "appKey": "defaultApp", "mediaProviders": ["WebRTC", "WSPlayer"], "clientVersion": "2.0",
            "clientOSVersion": "5.0 (X11)", "clientBrowserVersion": "Mozilla/5.0 test",
            "msePacketizationVersion": 2, **options,
        })
        return (await self.expect("getUserData"))[0]

    async def publish(self, name: str, sdp: str, media_session_id: str | None = None, **extra) -> str:
        identifier = media_session_id or str(uuid.uuid4())
        await self.send("publishStream", {
            "mediaSessionId": identifier, "name": name, "published": True, "hasVideo": True, "hasAudio": True,
            "status": "PENDING", "record": False, "mediaProvider": "WebRTC", "sdp": sdp,
            "bitrate": 0, "minBitrate": 0, "maxBitrate": 0, **extra,
        })
        return identifier

    async def play(self, name: str, sdp: str, media_session_id: str | None = None, **extra) -> str:
        identifier = media_session_id or str(uuid.uuid4())
        await self.send("playStream", {
            "mediaSessionId": identifier, "name": name, "published": False, "hasVideo": True, "hasAudio": True,
            "status": "PENDING", "record": False, "width": 0, "height": 0, "mediaProvider": "WebRTC", "sdp": sdp,
            "bitrate": 0, "minBitrate": 0, "maxBitrate": 0, "quality": 0, **extra,
        })
        return identifier

    async def stop(self, identifier: str, name: str, published: bool) -> None:
        await self.send("unPublishStream" if published else "stopStream", {
            "mediaSessionId": identifier, "name": name, "published": published, "hasVideo": True, "hasAudio": True,
            "status": "PENDING", "record": False,
        })

    async def answer(self, identifier: str) -> str:
        """The SDP of `setRemoteSDP` for the stream; checks the third argument on the way."""
        data = await self.expect("setRemoteSDP", lambda d: d[0] == identifier)
        assert data[2] is True, "isInitiator must be sent as true"
        return data[1]

    async def status(self, identifier: str | None, wanted: str, limit: float = DEFAULT_LIMIT_SECONDS) -> dict:
        """Waits for the next status of the stream that is not PENDING and checks it."""
        def fits(data):
            return data[0].get("mediaSessionId") == identifier and data[0]["status"] != "PENDING"
        got = (await self.expect("notifyStreamStatusEvent", fits, limit))[0]
        assert got["status"] == wanted, f"wanted {wanted}, got {got}"
        assert "available" not in got
        return got

    async def failure(self, identifier: str | None, limit: float = DEFAULT_LIMIT_SECONDS) -> str:
        return (await self.status(identifier, "FAILED", limit))["info"]
