"""What pages of the Web SDK do beyond one publish and one play (wcs-sdk-conformance.md), with live media."""

import asyncio
import ipaddress
import time

import pytest

from browser import check_media
from hostile import check, credential, udp_socket
from offers import make_offer
from wcs_client import WcsClient

STOPS, FULL_STOPS = 10, 50
LOG_BURST = 3000
RATE_MESSAGES = 4
# The SDK's own judgement of the connection: the rate told against what it counted itself between two messages.
GOOD_DEVIATION = 0.2
BAD_DEVIATION = 0.5
MAX_KBPS = 300


async def test_acceptance_run(server, new_page, name):
    """A publishes, B checks and plays, A mutes and sends data, C joins late, B tries what must fail, all stop."""
    a, b, c = await new_page(), await new_page(), await new_page()
    await a.wcs_publish(server, name, "VP8")
    await b.wcs(server, "b")
    publisher = (await a.call("describe", "pub"))["lastStatus"]["mediaSessionId"]
    await b.call("wcsPlay", "play", "b", name, {})
    await b.call("waitStatus", "play", ["PLAYING"], 10000)
    await check_media(a, b, "VP8", seconds=1.5)
    for event in ({"type": "audioMuted"}, {"type": "videoMuted"}, {"type": "data", "payload": {"count": 23}}):
        await a.call("wcsSend", "pub", "sendStreamEvent", {"mediaSessionId": publisher, **event})
    await c.wcs_play(server, name)
    late = (await c.call("describe", "play"))["lastStatus"]
    assert late["audioState"] == {"muted": True} and late["videoState"] == {"muted": True}
    heard = [e for e in (await b.call("describe", "play"))["events"] if e["message"] == "notifyStreamEvent"]
    assert [e["type"] for e in heard if e["type"] != "resize"] == ["audioMuted", "videoMuted", "data"]

    await b.call("wcsPublish", "taken", "b", name, {}, {})
    await b.call("waitStatus", "taken", ["FAILED"], 5000)
    assert (await b.call("describe", "taken"))["info"] == "Stream name is already in use"
    await b.call("wcsPlay", "none", "b", f"{name}-none", {})
    await b.call("waitStatus", "none", ["FAILED"], 5000)
    assert (await b.call("describe", "none"))["info"] == "Stream not found"

    await b.call("stopAsSDK", "play")
    await b.call("waitStatus", "play", ["STOPPED"], 5000)
    await b.call("wcsPlay", "again", "b", name, {})
    await b.call("waitStatus", "again", ["PLAYING"], 10000)
    await b.wait_frames("again", 5)
    await a.call("stopAsSDK", "pub")
    await a.call("waitStatus", "pub", ["UNPUBLISHED"], 5000)
    for page, key in ((b, "again"), (c, "play")):
        await page.call("waitStatus", key, ["FAILED"], 5000)
        assert (await page.call("describe", key))["info"] == "Stopped by publisher stop"
    await a.call("wcsPublish", "second", "pub", name, {}, {})
    await a.call("waitStatus", "second", ["PUBLISHING"], 10000)
    await b.call("wcsPlay", "third", "b", name, {})
    await b.call("waitStatus", "third", ["PLAYING"], 10000)
    await a.page.close()
    await b.call("waitStatus", "third", ["FAILED"], 5000)
    assert (await b.call("describe", "third"))["info"] == "Stopped by publisher stop"


async def test_a_stop_is_never_a_failure(server, new_page, name, full):
    """The page closes its peer connection in the moment of the stop message; that must not win the race."""
    page = await new_page()
    await page.wcs(server)
    for number in range(FULL_STOPS if full else STOPS):
        publisher, player = f"pub{number}", f"play{number}"
        await page.call("wcsPublish", publisher, "s", name, {}, {})
        await page.call("waitStatus", publisher, ["PUBLISHING"], 10000)
        await page.call("wcsPlay", player, "s", name, {})
        await page.call("waitStatus", player, ["PLAYING"], 10000)
        await page.call("stopAsSDK", player)
        await page.call("waitStatus", player, ["STOPPED"], 5000)
        await page.call("stopAsSDK", publisher)
        await page.call("waitStatus", publisher, ["UNPUBLISHED"], 5000)


async def test_stop_right_after_publish_and_play_as_the_sdk_does_it(server, new_page, name):
    page = await new_page()
    await page.wcs(server)
    await page.call("wcsPublish", "pub", "s", name, {}, {})
    await page.call("stopAsSDK", "pub")
    await page.call("waitStatus", "pub", ["UNPUBLISHED"], 5000)
    await page.call("wcsPublish", "pub2", "s", name, {}, {})
    await page.call("waitStatus", "pub2", ["PUBLISHING"], 10000)
    await page.call("wcsPlay", "play", "s", name, {})
    await page.call("stopAsSDK", "play")
    await page.call("waitStatus", "play", ["STOPPED", "FAILED"], 5000)


async def test_one_session_holds_several_publishers_and_players(server, new_page, name):
    page = await new_page()
    await page.wcs(server)
    for number in (1, 2):
        await page.call("wcsPublish", f"pub{number}", "s", f"{name}-{number}", {}, {})
        await page.call("waitStatus", f"pub{number}", ["PUBLISHING"], 10000)
    for number, stream in ((1, 1), (2, 2), (3, 1)):
        await page.call("wcsPlay", f"play{number}", "s", f"{name}-{stream}", {})
        await page.call("waitStatus", f"play{number}", ["PLAYING"], 10000)
    for number in (1, 2, 3):
        await page.wait_frames(f"play{number}", 10)
    await page.call("stopAsSDK", "pub1")
    for key in ("play1", "play3"):
        await page.call("waitStatus", key, ["FAILED"], 5000)
    frames = (await page.call("stats", "play2"))["video"]["frames"]
    await page.wait_frames("play2", frames + 15)


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
async def test_video_rate_agrees_with_the_clients_own_count(server, new_page, name, direction):
    page = await new_page()
    await page.wcs_publish(server, name, "VP8")
    await page.wcs_play(server, name)
    key = "pub" if direction == "inbound" else "play"
    await page.wait_frames(key, 15)
    told, counted = [], []
    while len(told) < RATE_MESSAGES + 1:
        events = [e for e in (await page.call("describe", key))["events"] if e["message"] == f"{direction}VideoRate"]
        if len(events) > len(told):
            told.append((time.monotonic(), events[-1]["videoRate"]))
            counted.append((await page.call("stats", key))["video"]["bytes"])
        await asyncio.sleep(0.02)
    gaps = [b[0] - a[0] for a, b in zip(told, told[1:])]
    assert 0.8 < sum(gaps) / len(gaps) < 1.2, f"not once a second: {gaps}"
    rates = [(b - a) * 8 for a, b in zip(counted, counted[1:])]
    deviations = [abs(rate - mine) / max(rate, mine) for (_, rate), mine in zip(told[1:], rates)]
    assert sorted(deviations)[len(deviations) // 2] < GOOD_DEVIATION, (told, rates)
    assert max(deviations) < BAD_DEVIATION, (told, rates)


async def test_wishes_for_another_size_are_served_with_the_source_and_logged(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, "VP8", record=True, rtmpUrl="rtmp://example.test/live",
                                cvoExtension=True, custom={"token": "abc"})
    wishes = {"width": 160, "height": 120, "bitrate": 100, "quality": 30, "custom": {"token": "abc"}}
    await player.wcs_play(server, name, options={"extra": wishes})
    await check_media(publisher, player, "VP8", seconds=1.5)
    assert (await player.call("stats", "play"))["video"]["width"] == 320
    assert (await player.call("describe", "play"))["lastStatus"]["custom"] == {"token": "abc"}
    log = [line for line in server.log_path.read_text().splitlines() if name in line]
    assert any("no transcoding: the source is served as it is" in line for line in log), log
    assert any("rtmpUrl is not served; publishing goes on" in line for line in log), log


async def test_max_bitrate_bounds_the_publisher(server, new_page, name):
    page = await new_page()
    await page.wcs_publish(server, name, "VP8", media={"width": 1280, "height": 720}, maxBitrate=MAX_KBPS)
    await page.wait_frames("pub", 15)
    await asyncio.sleep(2)
    begin = await page.call("stats", "pub")
    await asyncio.sleep(3)
    end = await page.call("stats", "pub")
    kbps = (end["video"]["bytes"] - begin["video"]["bytes"]) * 8 / (end["at"] - begin["at"])
    assert kbps < MAX_KBPS * 1.3, f"{kbps:.0f} kbit/s"
    assert end["video"]["target"] <= MAX_KBPS * 1000 * 1.05, end["video"]


async def test_a_silent_publisher_fails_by_rtp_activity(start_server, new_page, name):
    server = start_server({"media": {"rtp_timeout": "1s"}})
    page = await new_page()
    await page.wcs_publish(server, name)
    await page.wcs_play(server, name)
    await page.wait_frames("play", 1)
    await page.call("silence", "pub")
    await page.call("waitStatus", "pub", ["FAILED"], 8000)
    assert (await page.call("describe", "pub"))["info"] == "Failed by RTP activity"
    await page.call("waitStatus", "play", ["FAILED"], 3000)
    assert (await page.call("describe", "play"))["info"] == "Stopped by publisher stop"


async def test_ice_without_dtls_fails_by_dtls_error(start_server, name):
    """A peer that answers connectivity checks and never begins the handshake."""
    server = start_server({"ice": {"timeout": "1s"}})
    offer = make_offer(True)
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        identifier = await client.publish(name, offer)
        answer = await client.answer(identifier)
        user = f"{credential(answer, 'ice-ufrag')}:{credential(offer, 'ice-ufrag')}"
        failure = asyncio.create_task(client.failure(identifier))
        with udp_socket(server) as peer:
            while not failure.done():
                peer.send(check(user, credential(answer, "ice-pwd")))
                await asyncio.sleep(0.1)
        assert await failure == "Failed by DTLS error"


async def test_a_burst_of_pushed_logs_is_accepted(server, name):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        for number in range(LOG_BURST):
            await client.send("pushLogs", {"logs": f"{number} some line of a page's log\n"})
        await client.answer(await client.publish(name, make_offer(True)))


@pytest.mark.parametrize("provider", ["WSPlayer", "MSE"])
async def test_other_media_providers_are_refused(server, name, provider):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        identifier = await client.play(name, make_offer(False), mediaProvider=provider)
        assert await client.failure(identifier) == "No common codecs"


async def test_a_client_comes_back_with_its_token(server, name):
    """Section 2.5: keepAlive, the socket is lost, the same token: the same session, and its names are free."""
    offer = make_offer(True)
    async with WcsClient(server.ws_url) as first:
        user = await first.connect(keepAlive=True, sipLogin="1000", sipPassword="secret", custom={"n": 1})
        await first.answer(await first.publish(name, offer))
        async with WcsClient(server.ws_url) as second:
            await second.send("connection", {"keepAlive": True, "authToken": user["authToken"]})
            assert (await second.expect("getUserData"))[0] == user
            await second.answer(await second.publish(name, offer))
            second.socket.transport.abort()
    async with WcsClient(server.ws_url) as third:
        await third.send("connection", {"authToken": user["authToken"]})
        assert (await third.expect("getUserData"))[0] == user
    async with WcsClient(server.ws_url) as stranger:
        await stranger.send("connection", {"authToken": "no-such-token"})
        got = (await stranger.expect("fail"))[0]
        assert got == {"status": "FAILED", "info": "Session does not exist", "apiMethod": "ConnectionStatusEvent"}
        await stranger.socket.wait_closed()


async def test_ipv4_and_ipv6_are_served(start_server, new_page, name):
    """Listeners and media on both families; the media connection is made over IPv6 alone."""
    addresses = ipv6_addresses()
    if not addresses:
        pytest.skip("this machine has no IPv6 address that a browser would use")
    server = start_server({
        "media": {"listen": ["0.0.0.0", "::"], "announce": addresses},
        "websocket": {"listen": "::"}, "http": {"listen": "::"},
    })
    for host in ("127.0.0.1", "[::1]"):
        async with WcsClient(f"ws://{host}:{server.ws_port}/") as client:
            await client.connect()
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, "VP8")
    answer = (await publisher.call("describe", "pub"))["remoteSDP"]
    candidates = [line.split(" ")[4] for line in answer.split("\r\n") if line.startswith("a=candidate")]
    assert candidates and set(candidates) == set(addresses)
    await player.wcs_play(server, name)
    await check_media(publisher, player, "VP8", seconds=1.5)


def ipv6_addresses() -> list[str]:
    """Addresses of interfaces, without loopback and link-local ones."""
    with open("/proc/net/if_inet6", encoding="ascii") as table:
        found = [ipaddress.IPv6Address(int(line.split()[0], 16)) for line in table]
    return [str(address) for address in found if not address.is_loopback and not address.is_link_local]
