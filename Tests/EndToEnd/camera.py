"""Cameras for the tests of pulling: gst-rtsp-server in a process of its own, and one by script."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent / "gst_camera.py"
PYTHON = "/usr/bin/python3"
START_LIMIT_SECONDS = 20


class Camera:
    """gst_camera.py. `async with` starts it; it can be killed and started again at the same port."""

    def __init__(self, *flags: str, user: str = "", password: str = ""):
        self.flags = [*flags, *(["--user", user, "--password", password] if user else [])]
        self.authority = f"{user}:{password}@" if user else ""
        self.port = 0
        self.events: list[str] = []

    async def __aenter__(self) -> "Camera":
        await self.start()
        return self

    async def __aexit__(self, *_) -> None:
        await self.kill()

    @property
    def url(self) -> str:
        scheme = "rtsps" if "--tls" in self.flags else "rtsp"
        return f"{scheme}://{self.authority}127.0.0.1:{self.port}/live"

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            PYTHON, str(PROGRAM), "--port", str(self.port), *self.flags, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.errors = asyncio.ensure_future(self.process.stderr.read())
        line = await asyncio.wait_for(self.process.stdout.readline(), START_LIMIT_SECONDS)
        if not line:
            raise AssertionError((await self.errors).decode()[-2000:])
        ready = json.loads(line)
        assert ready["event"] == "ready", ready
        self.port = ready["port"]
        self.reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for line in self.process.stdout:
            self.events.append(json.loads(line)["event"])

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await asyncio.gather(self.process.wait(), self.reader, self.errors)


OK = "200 OK"
H264_SDP = ("v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
            "a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\na=control:track1\r\n")


class ScriptedCamera:
    """Answers as it is told: `answers` maps methods to (status, headers, body), or to None for no answer at all."""

    def __init__(self, answers: dict[str, tuple[str, dict, str] | None] | None = None):
        self.answers = answers or {}
        self.requests: list[tuple[str, str, dict]] = []
        self.connections = 0

    async def __aenter__(self) -> "ScriptedCamera":
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_) -> None:
        self.server.close()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def _answer(self, method: str, headers: dict):
        if method in self.answers:
            return self.answers[method]
        if method == "DESCRIBE":
            return (OK, {"Content-Type": "application/sdp"}, H264_SDP)
        if method == "SETUP":
            return (OK, {"Transport": headers["transport"], "Session": "s1"}, "")
        return (OK, {}, "")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while line := (await reader.readline()).decode().strip():
                method, uri, _ = line.split(" ")
                headers = {}
                while field := (await reader.readline()).decode().strip():
                    key, value = field.split(":", 1)
                    headers[key.lower()] = value.strip()
                self.requests.append((method, uri, headers))
                answer = self._answer(method, headers)
                if answer is None:
                    continue
                status, more, body = answer
                text = f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n"
                text += "".join(f"{key}: {value}\r\n" for key, value in more.items())
                if body:
                    text += f"Content-Length: {len(body)}\r\n"
                writer.write((text + "\r\n" + body).encode())
                await writer.drain()
        except (ConnectionError, ValueError, UnicodeDecodeError):
            pass
        finally:
            writer.close()
