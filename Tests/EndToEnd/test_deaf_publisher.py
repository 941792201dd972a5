"""Publishers that ignore key-frame requests, as OBS and cameras do: who joins must not wait for the next key frame."""

import asyncio
import statistics

from aiortc_peer import AiortcPeer

GROUP_SECONDS = 6.0
PLAYERS = 7
# The players meet all phases of a group, the first one late in it.
PHASE_SECONDS = 1.3
JOIN_LIMIT_SECONDS = 2.0


def make_deaf(peer: AiortcPeer) -> asyncio.Task:
    """The video sender answers no PLI; it makes a key frame every GROUP_SECONDS, as a camera does."""
    sender = next(s for s in peer.pc.getSenders() if s.kind == "video")
    key_frame = sender._send_keyframe
    sender._send_keyframe = lambda: None

    async def groups():
        while True:
            await asyncio.sleep(GROUP_SECONDS)
            key_frame()

    return asyncio.ensure_future(groups())


async def time_to_first_frame(server, name: str) -> float:
    player = AiortcPeer()
    player.receive(audio=False)
    await player.post(server.whep(name))
    await player.connected()
    begin = asyncio.get_running_loop().time()
    try:
        await player.wait_frames(1, GROUP_SECONDS * 2)
        return asyncio.get_running_loop().time() - begin
    finally:
        await player.close()


async def test_players_of_a_publisher_without_ears_start_at_once(server, name):
    publisher = AiortcPeer()
    publisher.send("VP8", audio=False)
    await publisher.post(server.whip(name))
    groups = make_deaf(publisher)
    try:
        await publisher.connected()
        times = []
        for _ in range(PLAYERS):
            await asyncio.sleep(PHASE_SECONDS)
            times.append(await time_to_first_frame(server, name))
    finally:
        groups.cancel()
        await publisher.close()
    # The first may wait until it is known that requests go unheard; with six seconds between key frames, seven
    # players would otherwise wait three seconds on average.
    assert max(times) < JOIN_LIMIT_SECONDS and statistics.median(times) < 0.7, times
