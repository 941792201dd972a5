"""Names of streams and files that no file may have: whatever they are, the file is in the folder, and is fetched by the
name that was told."""

from __future__ import annotations

import asyncio
import urllib.parse
from pathlib import Path

import aiohttp
import pytest

from aiortc_peer import AiortcPeer
from media_file import decodes
from recording_checks import FILE_LIMIT_SECONDS, folder
from rest_api import call, done, found
from wcs_client import WcsClient

LONGEST_NAME = 255
# No stream may have such names at all; files may be asked for by them.
REFUSED_NAMES = ["../../etc/{}", "/etc/{}", "..\\{}", "{}" + "n" * 300]
NAMES = ["{}" + "n" * 200, "🎥" * 30 + "{}", "$(id){}", "`id`;{}|&", "{}%2e%2e%2f", "-rf {}", ".{}", "..{}"]


def everything(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*") if path.is_file()}


async def being_written(server, count: int) -> None:
    """Waits until so many recordings have something in their files."""
    async with asyncio.timeout(FILE_LIMIT_SECONDS):
        while sum(path.stat().st_size > 0 for path in (folder(server) / "unfinished").glob("*.part")) < count:
            await asyncio.sleep(0.05)


async def all_complete(server) -> None:
    """Waits until nothing is left in the folder of unfinished recordings, lest it be taken for the next one."""
    async with asyncio.timeout(FILE_LIMIT_SECONDS):
        while any((folder(server) / "unfinished").glob("*.part")):
            await asyncio.sleep(0.05)


async def fetched(server, name: str) -> bytes:
    """The file of that name, asked for as pages ask for it: the name is put into the address as it is."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{server.http_url}/client/records/{name}") as got:
            assert got.status == 200, (name, got.status)
            return await got.read()


async def check_files(server, told: list[str], before: set[Path]) -> None:
    """There is one file for each name, in the folder and nowhere else, and it is fetched by it."""
    assert len(set(told)) == len(told), told
    for name in told:
        assert name == urllib.parse.quote(name) and "/" not in name and not name.startswith((".", "-")), name
        assert len(name.encode()) <= LONGEST_NAME, name
        body = await fetched(server, name)
        path = folder(server) / name
        assert path.read_bytes() == body and len(body) > 1_000
        decodes(path)
    new = everything(server.directory) - before
    assert {path for path in new if path.suffix == ".webm"} == {folder(server) / name for name in told}, new


@pytest.mark.limit(60)
async def test_hostile_names_of_streams_stay_in_the_folder(start_server, name):
    server = start_server({"recording": {"template": "{streamName}"}})
    before, etc = everything(server.directory), set(Path("/etc").iterdir())
    names = [one.format(name) for one in NAMES]
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        for refused in (one.format(name) for one in REFUSED_NAMES):
            peer = AiortcPeer()
            peer.send("VP8", audio=False)
            info = await client.failure(await client.publish(refused, await peer.offer(), record=True))
            assert info.startswith("Bad stream name"), (refused, info)
            await peer.close()
        peers, identifiers = [], []
        for one in names:
            peer = AiortcPeer()
            peer.send("VP8", audio=False)
            identifier = await client.publish(one, await peer.offer(), record=True)
            await peer.accept(await client.answer(identifier))
            assert (await client.status(identifier, "PUBLISHING"))["record"] is True
            peers.append(peer)
            identifiers.append(identifier)
        await being_written(server, len(names))
        told = []
        for one, identifier in zip(names, identifiers):
            await client.stop(identifier, one, published=True)
            told.append((await client.status(identifier, "UNPUBLISHED"))["recordName"])
        for peer in peers:
            await peer.close()
    await check_files(server, told, before)
    assert set(Path("/etc").iterdir()) == etc


@pytest.mark.limit(60)
async def test_hostile_names_of_files_stay_in_the_folder(start_server, name):
    server = start_server()
    before, etc = everything(server.directory), set(Path("/etc").iterdir())
    peer = AiortcPeer()
    peer.send("VP8", audio=False)
    await peer.post(server.whip(name))
    await server.wait_live(name)
    stream, = await found(server, "stream/find", {"name": name, "published": True})
    which, told = {"mediaSessionId": stream["mediaSessionId"]}, []
    for file in (one.format(name) for one in REFUSED_NAMES + NAMES):
        await done(server, "stream/startRecording", {**which, "fileName": file})
        await being_written(server, 1)
        status, answer = await call(server, "stream/stopRecording", which)
        assert status == 200, (file, status, answer)
        told.append(answer["recordName"])
        await all_complete(server)
    await peer.close()
    await check_files(server, told, before)
    assert set(Path("/etc").iterdir()) == etc
