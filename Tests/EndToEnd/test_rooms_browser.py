"""A room of five in Chromium: everyone publishes, everyone plays everyone, one leaves and one is lost."""

import asyncio

import pytest

LOGINS = ["ann", "bob", "eve", "dan", "joe"]
# Five encoders and twenty decoders share the machine with the server.
SMALL = {"width": 160, "height": 120, "frameRate": 8}
LIMIT_SECONDS = 20
FRAMES = 5


async def until(what: str, get, fits, limit: float = LIMIT_SECONDS):
    """Asks until the answer fits, and returns it."""
    end = asyncio.get_running_loop().time() + limit
    while not fits(got := await get()):
        assert asyncio.get_running_loop().time() < end, f"{what}: {got}"
        await asyncio.sleep(0.1)
    return got


@pytest.mark.limit(90)
async def test_five_browsers_in_a_room(start_server, new_page, name):
    server = start_server()
    pages = {login: await new_page() for login in LOGINS}

    def knows(page):
        return lambda: page.call("room", "s")

    for index, (login, page) in enumerate(pages.items()):
        await page.wcs(server, appKey="roomApp", custom={"login": login})
        await page.call("roomJoin", "s", name, login)
        here = dict.fromkeys(LOGINS[:index], [])
        state = await until("STATE", knows(page), lambda room: room["events"])
        assert state["events"][0] == {"name": "STATE", "info": LOGINS[:index]} and state["participants"] == here
    for index, (login, page) in enumerate(pages.items()):
        joined = [{"name": "JOINED", "info": other} for other in LOGINS[index + 1:]]
        await until("JOINED", knows(page), lambda room: room["events"][1:] == joined)

    streams = {login: await page.call("roomPublish", "s", "pub", SMALL) for login, page in pages.items()}
    for login, page in pages.items():
        others = {other: [stream] for other, stream in streams.items() if other != login}
        await until("PUBLISHED", knows(page), lambda room: room["participants"] == others)
        for stream in (stream for other, stream in streams.items() if other != login):
            await page.call("waitStatus", stream, ["PLAYING"], 1000 * LIMIT_SECONDS)
            await page.wait_frames(stream, FRAMES, LIMIT_SECONDS)

    await pages["bob"].call("roomCommand", "s", "sendMessage", {"roomConfig": {"name": name}, "to": "eve", "text": "hi é"})
    message = {"name": "MESSAGE", "info": {"from": "bob", "text": "hi é"}}
    await until("MESSAGE", knows(pages["eve"]), lambda room: room["events"][-1] == message)
    for login in ("ann", "dan", "joe"):
        assert message not in (await pages[login].call("room", "s"))["events"], "a private message"

    await pages["ann"].call("roomCommand", "s", "leave", {"name": name})
    await pages["ann"].call("stop", "pub")
    await pages["joe"].close()
    gone = {"ann", "joe"}
    for login in ("bob", "eve", "dan"):
        left = {other: [streams[other]] for other in LOGINS if other not in gone | {login}}
        room = await until("LEFT", knows(pages[login]), lambda room: room["participants"] == left)
        for other in gone:
            ends = [e["name"] for e in room["events"] if e["info"] in (other, {"login": other, "name": streams[other]})]
            assert ends[-2:] == ["UNPUBLISHED", "LEFT"], (other, ends)
            await until("player", lambda: pages[login].call("playedStatuses", [streams[other]]),
                        lambda statuses: statuses[streams[other]] == "FAILED")
        # Those who stayed go on.
        rest = [stream for streams_of in left.values() for stream in streams_of]
        for stream in rest:
            frames = (await pages[login].call("stats", stream))["video"]["frames"]
            await pages[login].wait_frames(stream, frames + FRAMES, LIMIT_SECONDS)
