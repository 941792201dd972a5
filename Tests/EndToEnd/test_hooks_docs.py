"""The backend of docs/hooks.md is run as it stands there."""

import asyncio
import re
import socket
import sys

import aiohttp
import pytest

from aiortc_peer import wcs_publish
from offers import make_offer
from wcs_client import WcsClient
from weir_server import REPOSITORY, free_ports

MOST_LINES = 36


@pytest.fixture
def documented_backend(tmp_path):
    text = (REPOSITORY / "docs/hooks.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    assert len(code.splitlines()) <= MOST_LINES
    program = tmp_path / "backend.py"
    program.write_text(code)
    return program


async def listening(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        await asyncio.sleep(0.1)
    raise AssertionError("the backend of the docs does not listen")


async def test_the_documented_backend_decides_by_token(start_server, name, documented_backend):
    port = free_ports(1)[0]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(documented_backend), str(port), stderr=asyncio.subprocess.DEVNULL)
    try:
        await listening(port)
        server = start_server({
            "applications": {"defaultApp": {"url": f"http://127.0.0.1:{port}/weir"}},
            "hooks": {"built_in": [], "keep_alive": True, "keep_alive_interval": "1s"}})
        async with WcsClient(server.ws_url) as ann, WcsClient(server.ws_url) as bob, WcsClient(server.ws_url) as eve:
            await ann.connect(custom={"token": "token-of-ann"})
            await bob.connect(custom={"token": "token-of-bob"})
            publisher, published = await wcs_publish(ann, name, None)
            assert await bob.failure(await bob.publish(name + "-b", make_offer(True))) == "Forbidden"
            # Allowed, but not there.
            assert await bob.failure(await bob.play(name + "-c", make_offer(False))) == "Stream not found"
            await eve.send("connection", {"appKey": "defaultApp", "custom": {"token": "stolen"}})
            assert (await eve.expect("fail"))[0]["info"] == "Forbidden"
            # Asked again, and allowed again.
            answered = 'weir_hooks_requests_total{app="defaultApp",method="StreamKeepAliveEvent",result="ok"}'
            while server.metrics().get(answered, 0) < 2:
                await asyncio.sleep(0.1)
            assert server.streams() == [name]
            await ann.stop(published, name, published=True)
            await ann.status(published, "UNPUBLISHED")
            await publisher.close()
        async with aiohttp.ClientSession() as session:
            for token, status in (("token-of-ann", 201), ("token-of-bob", 403), ("stolen", 403)):
                headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {token}"}
                url = server.whip(f"{name}-{token}")
                async with session.post(url, data=make_offer(True), headers=headers) as got:
                    assert got.status == status, token
            url = server.whip(f"{name}-query") + "?token=token-of-ann"
            async with session.post(url, data=make_offer(True), headers={"Content-Type": "application/sdp"}) as got:
                assert got.status == 201
    finally:
        process.kill()
        await process.wait()
