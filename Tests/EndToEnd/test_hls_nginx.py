"""Config/nginx-hls.conf: nginx takes the load, one request per part and playlist version reaches Weir."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from pathlib import Path

import aiohttp
import pytest

from aiortc_peer import AiortcPeer
from certificates import Authority
from hls_client import HLSClient
from weir_server import REPOSITORY, free_ports

VIEWERS = 12
FOLLOW_SECONDS = 5.0
START_LIMIT_SECONDS = 10.0


def configuration(server, directory: Path, port: int) -> str:
    """The file as it is, with this machine's ports, names and folders in place of those it says to change."""
    text = (REPOSITORY / "Config/nginx-hls.conf").read_text()
    for old, new in (
        ("/var/cache/nginx/weir-hls", str(directory / "cache")), ("127.0.0.1:8082", f"127.0.0.1:{server.hls_port}"),
        ("listen 443 ssl http2", f"listen 127.0.0.1:{port} ssl http2"),
        ("/etc/ssl/live.example.com.pem", str(directory / "cert.pem")),
        ("/etc/ssl/live.example.com.key", str(directory / "key.pem")),
    ):
        assert old in text, old
        text = text.replace(old, new)
    temporary = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    # The folders of tests are their user's.
    user = "user root;\n" if os.geteuid() == 0 else ""
    return (f"{user}pid {directory}/pid;\nerror_log {directory}/error.log;\ndaemon off;\nworker_processes 1;\n"
            f"events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{temporary}{text}\n}}\n")


@pytest.fixture
def nginx(start_server, tmp_path):
    """(Weir, address of nginx before it)."""
    server = start_server({"limits": {"connections_per_address": 1000}})
    port, = free_ports(1)
    Authority().write("live.example.com", tmp_path / "cert.pem", tmp_path / "key.pem")
    (tmp_path / "nginx.conf").write_text(configuration(server, tmp_path, port))
    process = subprocess.Popen(["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"])
    yield server, f"https://127.0.0.1:{port}", process
    process.terminate()
    process.wait(10)


async def answers(session: aiohttp.ClientSession, url: str, process) -> None:
    async with asyncio.timeout(START_LIMIT_SECONDS):
        while True:
            assert process.poll() is None, "nginx ended"
            try:
                async with session.get(url + "/x/x.m3u8"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


def served(server, kind: str) -> float:
    return server.metrics()[f'weir_hls_requests_total{{kind="{kind}"}}']


class Viewer(HLSClient):
    """Notes what it asks for."""

    def __init__(self, session: aiohttp.ClientSession, url: str, asked: list[str]):
        super().__init__(session, url)
        self.asked = asked

    async def get(self, url: str, **headers) -> bytes:
        self.asked.append(url)
        return await super().get(url, **headers)


@pytest.mark.limit(90)
async def test_viewers_of_a_cache_cost_the_server_one(nginx, name):
    server, base, process = nginx
    peer = AiortcPeer()
    peer.send("H264")
    await peer.post(server.whip(name))
    await server.wait_live(name)
    connector = aiohttp.TCPConnector(ssl=False, limit=0)
    asked: list[str] = []
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        await answers(session, base, process)
        viewers = [await Viewer(session, f"{base}/{name}/{name}.m3u8", asked).open() for _ in range(VIEWERS)]
        # Every viewer has a session of its own.
        assert len({viewer.variants[0][1] for viewer in viewers}) == VIEWERS
        asked.clear()
        began = asyncio.get_running_loop().time()
        before = {kind: served(server, kind) for kind in ("media", "playlist")}
        all_followed = await asyncio.gather(*(viewer.follow(FOLLOW_SECONDS, deltas=False) for viewer in viewers))
        cost = {kind: served(server, kind) - before[kind] for kind in before}
        seconds = asyncio.get_running_loop().time() - began
    assert all(followed.segments and followed.parts for followed in all_followed)
    media = [url for url in asked if re.search(r"\.(m4s|mp4)$", url)]
    numbered = [found[0] for url in asked if (found := re.search("_HLS_msn=.*", url))]
    print(f"\n{len(media)} requests of {VIEWERS} viewers for {len(set(media))} parts and segments, {cost['media']:.0f} of Weir; "
          f"{len(numbered)} for {len(set(numbered))} playlists, {cost['playlist']:.0f} of Weir")
    assert len(media) > 3 * len(set(media)) and len(numbered) > 3 * len(set(numbered)), "viewers who look at the same"
    # Each part once, and each playlist that is waited for; the one of this moment is kept for a second.
    assert cost["media"] == len(set(media)), cost
    assert len(set(numbered)) <= cost["playlist"] <= len(set(numbered)) + seconds + 1, cost
    await peer.close()
