"""Starts and observes the release binary of Weir for the end-to-end tests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("WEIR_BINARY", REPOSITORY / ".build/release/weir"))
START_LIMIT_SECONDS = 20.0
STOP_LIMIT_SECONDS = 15.0
LOG_TAIL_LINES = 60


def free_ports(count: int) -> list[int]:
    """Port numbers that are free for TCP and UDP now. They are all held while choosing, so they differ."""
    held: list[socket.socket] = []
    ports: list[int] = []
    try:
        while len(ports) < count:
            stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.append(stream)
            stream.bind(("0.0.0.0", 0))
            port = stream.getsockname()[1]
            datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            held.append(datagram)
            try:
                datagram.bind(("0.0.0.0", port))
            except OSError:
                continue
            ports.append(port)
    finally:
        for one in held:
            one.close()
    return ports


def free_port_pair() -> int:
    """The even one of two neighbouring port numbers that are free for UDP now."""
    while True:
        port = free_ports(1)[0] & ~1
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first, \
                    socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
                first.bind(("0.0.0.0", port))
                second.bind(("0.0.0.0", port + 1))
                return port
        except (OSError, OverflowError):
            continue


def merge(base: dict, extra: dict) -> dict:
    """Nested dictionaries merged; values of `extra` win."""
    out = dict(base)
    for key, value in extra.items():
        out[key] = merge(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


class WeirServer:
    """One process `weir serve` with its own ports, state directory and log file."""

    def __init__(self, directory: Path, settings: dict | None = None, environment: dict | None = None):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        media, ws, wss, http, https, hls, hls_tls, rtsp, rtsps = free_ports(9)
        udp = free_port_pair()
        self.media_port, self.ws_port, self.wss_port, self.http_port, self.https_port = media, ws, wss, http, https
        self.hls_port, self.hls_tls_port = hls, hls_tls
        self.rtsp_port, self.rtsps_port, self.rtsp_udp_port = rtsp, rtsps, udp
        self.settings = merge(
            {
                "media": {"port": media},
                "websocket": {"port": ws, "tls_port": wss},
                "http": {"port": http, "tls_port": https},
                "hls": {"port": hls, "tls_port": hls_tls},
                "rtsp": {"listeners": [f"0.0.0.0:{rtsp}"], "tls_listeners": [f"0.0.0.0:{rtsps}"], "udp_port": udp},
                "state": {"dir": str(directory / "state")},
                "log": {"level": os.environ.get("WEIR_TEST_LOG_LEVEL", "info")},
            },
            settings or {},
        )
        self.environment = environment or {}
        # A test that ends the server otherwise than by one SIGTERM says what status it expects.
        self.expected_status = 0
        self.log_path = directory / "weir.log"
        self.process: subprocess.Popen | None = None

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.ws_port}/"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def whip(self, name: str) -> str:
        return f"{self.http_url}/whip/{name}"

    def whep(self, name: str) -> str:
        return f"{self.http_url}/whep/{name}"

    @property
    def hls_url(self) -> str:
        return f"http://127.0.0.1:{self.hls_port}"

    def rtsp(self, name: str, secure: bool = False) -> str:
        scheme, port = ("rtsps", self.rtsps_port) if secure else ("rtsp", self.rtsp_port)
        return f"{scheme}://127.0.0.1:{port}/{name}"

    def start(self) -> "WeirServer":
        config = self.directory / "weir.yaml"
        config.write_text(yaml.safe_dump(self.settings))
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [str(BINARY), "serve", "--config", str(config)],
                stdout=log, stderr=log, env={**os.environ, **self.environment}, cwd=self.directory,
            )
        end = time.monotonic() + START_LIMIT_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"weir ended with {self.process.returncode} at start\n{self.log_tail()}")
            try:
                with urllib.request.urlopen(f"{self.http_url}/health", timeout=1) as response:
                    if response.status == 200:
                        return self
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"weir did not answer /health\n{self.log_tail()}")

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> int | None:
        """SIGTERM, then SIGKILL when the limit passes. Returns the exit status; -9 shows that it hung."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def resident_kib(self) -> int:
        """Resident memory of the process in KiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError("no VmRSS")

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def streams(self) -> list[str]:
        """Names of the streams that can be played."""
        with urllib.request.urlopen(f"{self.http_url}/api/streams", timeout=5) as response:
            return [stream["name"] for stream in json.load(response) if stream["isLive"]]

    async def wait_live(self, name: str, limit: float = 10.0) -> None:
        """Waits until that stream can be played."""
        end = time.monotonic() + limit
        while name not in self.streams():
            assert time.monotonic() < end, f"{name} is not live\n{self.log_tail()}"
            await asyncio.sleep(0.02)

    def metrics(self) -> dict[str, float]:
        """Samples of /metrics by their full name with labels."""
        with urllib.request.urlopen(f"{self.http_url}/metrics", timeout=5) as response:
            text = response.read().decode()
        samples: dict[str, float] = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples
