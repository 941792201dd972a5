"""Cameras and other RTSP servers as streams: played, lost and back, refused, by name, on the operator's word."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.parse
import urllib.request

import av
import pytest

from aiortc_peer import AiortcPeer, wcs_play
from camera import H264_SDP, OK, Camera, ScriptedCamera
from certificates import Authority
from hook_backend import HookBackend, decides
from offers import make_offer
from rest_api import call, done, found, get
from wcs_client import WcsClient

LIMIT_SECONDS = 20.0
PLAYER_OFFER = make_offer(False, video=("VP8", "H264"))
QUICK = {"allow_networks": ["127.0.0.0/8"], "retry_first": "200ms", "retry_longest": "500ms", "linger": "1s"}
LOUD = 1000


@pytest.fixture
def pull(start_server):
    """Starts a server that may pull from this machine, and tries again soon."""
    def start(settings: dict | None = None, **pull_settings):
        return start_server({**(settings or {}), "rtsp": {"pull": {**QUICK, **pull_settings}}})
    return start


def whep(server, name: str) -> str:
    return server.whep(urllib.parse.quote(name, safe=""))


def listed(server) -> list[dict]:
    with urllib.request.urlopen(f"{server.http_url}/api/streams", timeout=5) as response:
        return json.load(response)


async def until(what: str, reached, limit: float = LIMIT_SECONDS):
    """Waits for a value that is true of `reached`, a function or coroutine function."""
    end = time.monotonic() + limit
    while True:
        value = reached()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, what
        await asyncio.sleep(0.05)


async def refusal(server, url: str, limit: float = LIMIT_SECONDS) -> str:
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        return await client.failure(await client.play(url, PLAYER_OFFER), limit)


async def watch(server, name: str) -> AiortcPeer:
    peer = AiortcPeer()
    peer.receive()
    await peer.post(whep(server, name))
    return peer


async def test_viewers_share_a_camera_and_stay_when_it_is_killed(pull, new_page):
    server = pull()
    async with Camera("--transport", "tcp") as camera:
        page = await new_page()
        await page.wcs_play(server, camera.url)
        peer = await watch(server, camera.url)
        await page.wait_frames("play", 15, LIMIT_SECONDS)
        await page.wait_audio("play")
        await peer.wait_frames(15, LIMIT_SECONDS)
        await peer.wait_audio(LOUD)
        assert camera.events.count("client") == 1, camera.events
        assert [(s["name"], s["kind"], s["players"]) for s in listed(server)] == [(camera.url, "on-demand", 2)]
        assert await found(server, "rtsp/find", {"uri": camera.url}) == [{"uri": camera.url, "status": "PLAYING"}]

        await camera.kill()
        await until("the loss is noticed", lambda: found_status(server, camera.url, "PENDING"))
        await camera.start()
        await until("the camera is back", lambda: found_status(server, camera.url, "PLAYING"))
        # The same sessions, of the same players, show what comes now.
        shown = (await page.call("stats", "play"))["video"]["frames"]
        seen = peer.frames
        await page.wait_frames("play", shown + 30, LIMIT_SECONDS)
        await peer.wait_frames(seen + 30, LIMIT_SECONDS)
        heard = (await page.call("stats", "play"))["audio"]["packets"]
        await until("sound goes on", lambda: more_sound(page, heard))
        assert (await page.call("describe", "play"))["lastStatus"]["status"] == "PLAYING"

        await done(server, "rtsp/terminate", {"uri": camera.url})
        status = await page.call("waitStatus", "play", ["FAILED"], 10000)
        assert (await page.call("describe", "play"))["lastStatus"]["info"] == "RtspAgent shutdown", status
        await peer.close()
        await until("the camera is told", lambda: "teardown" in camera.events)
        assert await found(server, "rtsp/find_all") == []


async def found_status(server, url: str, status: str) -> bool:
    return await found(server, "rtsp/find", {"uri": url}) == [{"uri": url, "status": status}]


async def more_sound(page, packets: int) -> bool:
    return (await page.call("stats", "play"))["audio"]["packets"] > packets + 20


async def test_sound_that_browsers_do_not_know_is_made_for_them(pull):
    """AAC, as most cameras have it."""
    server = pull()
    async with Camera("--sound", "aac") as camera:
        peer = await watch(server, camera.url)
        await peer.wait_frames(10, LIMIT_SECONDS)
        await peer.wait_audio(LOUD, LIMIT_SECONDS)
        await peer.close()


async def test_a_camera_ends_with_its_last_viewer(pull):
    server = pull()
    async with Camera() as camera:
        peer = await watch(server, camera.url)
        await peer.wait_frames(5, LIMIT_SECONDS)
        await peer.close()
        await until("the camera is let go", lambda: "teardown" in camera.events)
        await until("nothing is pulled", lambda: server.metrics()["weir_rtsp_pull_sources"] == 0)
        assert listed(server) == []


@pytest.mark.parametrize("transport, camera_transport", [
    ("udp", "udp"), ("udp_then_tcp", "tcp"),
])
async def test_media_by_datagrams(pull, transport, camera_transport):
    server = pull(transport=transport)
    async with Camera("--transport", camera_transport) as camera:
        peer = await watch(server, camera.url)
        await peer.wait_frames(20, LIMIT_SECONDS)
        await peer.wait_audio(LOUD)
        assert f"transport={camera_transport}" in server.log_path.read_text().replace('"', "")
        await peer.close()


async def test_datagrams_that_do_not_come_are_replaced_by_the_connection(pull):
    """The camera agrees to UDP and sends nothing; the next attempt asks for TCP, without a wait and without a word."""
    server = pull(transport="udp_then_tcp", media_timeout="1s")
    transports = []

    class Deaf(ScriptedCamera):
        def _answer(self, method, headers):
            if method == "SETUP":
                transports.append(headers["transport"].split(";")[0])
            return super()._answer(method, headers)

    async with Deaf() as camera:
        assert await refusal(server, camera.url) == "Stream failed"
        assert transports == ["RTP/AVP", "RTP/AVP/TCP"], transports


async def test_what_viewers_are_told_when_there_is_no_stream(pull):
    """WCS's texts, for all causes at once."""
    server = pull(media_timeout="2s", response_timeout="2s")
    theora = H264_SDP.replace("H264/90000", "theora/90000").replace("packetization-mode=1;profile-level-id=42e01f", "x=1")
    unauthorized = ("401 Unauthorized", {"WWW-Authenticate": 'Digest realm="camera", nonce="n1"'}, "")
    async with (
        Camera(user="admin", password="right") as camera, ScriptedCamera() as silent,
        ScriptedCamera({"DESCRIBE": ("404 Not Found", {}, "")}) as missing,
        ScriptedCamera({"DESCRIBE": (OK, {"Content-Type": "application/sdp"}, theora)}) as unknown,
        ScriptedCamera({"DESCRIBE": unauthorized}) as locked, ScriptedCamera({"OPTIONS": None}) as deaf,
        ScriptedCamera({"DESCRIBE": ("500 Internal Server Error", {}, "")}) as broken,
        ScriptedCamera({"PLAY": ("454 Session Not Found", {}, "")}) as forgetful,
    ):
        async with ScriptedCamera({"DESCRIBE": ("302 Moved", {"Location": "rtsp://127.0.0.1:25/x"}, "")}) as inside:
            wrong = camera.url.replace("right", "wrong")
            expected = {
                silent.url: "Stream failed",
                missing.url: "Rtsp stream not found",
                unknown.url: "No common codecs",
                wrong: "Failed to connect to rtsp stream",
                locked.url: "Failed to connect to rtsp stream",
                deaf.url: "Failed to connect to rtsp stream",
                broken.url: "Failed to connect to rtsp stream",
                forgetful.url: "Failed to connect to rtsp stream",
                inside.url: "Failed to connect to rtsp stream",
                "rtsp://127.0.0.1:1/live": "Failed to connect to rtsp stream",
                "rtsp://127.0.0.1:99999/live": "Rtsp has wrong format",
                "rtsp://": "Rtsp has wrong format",
                "rtmp://127.0.0.1/live": "Failed to get agent storage",
            }
            told = await asyncio.gather(*(refusal(server, url) for url in expected))
            assert dict(zip(expected, told)) == expected
            # Whoever tries again and again does not have the camera lock the account.
            before = len(locked.requests)
            assert await refusal(server, locked.url) == "Failed to connect to rtsp stream"
            assert len(locked.requests) == before
            assert silent.requests[-2][0] == "PLAY" or silent.requests[-1][0] == "PLAY", silent.requests
    metrics = server.metrics()
    for reason in ("silent", "notFound", "noCommonCodecs", "wrongPassword", "refusedHost", "badURL", "noResponse"):
        assert metrics[f'weir_rtsp_pull_failures_total{{reason="{reason}"}}'] >= 1, reason
    assert listed(server) == [] and metrics["weir_rtsp_pull_sources"] == 0


async def test_addresses_inside_are_not_reached(start_server):
    """Neither loopback, private and metadata addresses nor other ways to write them, whoever names them."""
    server = start_server({"rtsp": {"pull": {"hosts": ["*.example.com", "127.0.0.1", "localhost", "169.254.169.254",
                                                       "10.0.0.1", "0x7f.1", "2130706433", "::1", "::ffff:127.0.0.1"]}}})
    async with ScriptedCamera() as camera:
        urls = [f"rtsp://{host}:{camera.port}/live" for host in (
            "127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "0x7f.1", "2130706433", "[::1]",
            "[::ffff:127.0.0.1]", "elsewhere.example.org")] + ["rtsp://127.0.0.1:22/"]
        told = await asyncio.gather(*(refusal(server, url) for url in urls))
        assert told == ["Failed to connect to rtsp stream"] * len(urls), dict(zip(urls, told))
        for url in urls[-2:]:
            assert (await call(server, "rtsp/startup", {"uri": url}))[0] == 400
        assert camera.connections == 0
        refused = server.metrics()['weir_rtsp_pull_failures_total{reason="refusedHost"}']
        assert refused >= len(urls) - 2, refused


async def test_redirects_are_followed(pull):
    async with Camera() as camera:
        moved = ("302 Moved Temporarily", {"Location": camera.url}, "")
        server = pull()
        async with ScriptedCamera({"DESCRIBE": moved}) as first:
            peer = await watch(server, first.url)
            await peer.wait_frames(5, LIMIT_SECONDS)
            await peer.close()


async def test_a_camera_under_tls(pull, tmp_path):
    """Its certificate is its own, so it is checked only where it can be."""
    chain, key, _serial = Authority().issue("camera")
    files = [tmp_path / "camera.pem", tmp_path / "camera.key"]
    for file, text in zip(files, (chain, key)):
        file.write_text(text)
    trusting, careful = pull(tls_verify=False), pull()
    async with Camera("--transport", "tcp", "--tls", *map(str, files)) as camera:
        assert await refusal(careful, camera.url) == "Failed to connect to rtsp stream"
        assert "play" not in camera.events
        peer = await watch(trusting, camera.url)
        await peer.wait_frames(5, LIMIT_SECONDS)
        await peer.close()


@pytest.mark.parametrize("method", ["digest", "basic"])
async def test_passwords_of_cameras_are_shown_to_nobody(pull, method):
    """The backend makes a camera's URL of an alias; its password is in no log, list, metric or message."""
    secret = "se-cr+et"
    rewrite = {"restPolicy": "OVERWRITE", "restOverwrite": "name"}

    async with Camera("--method", method, user="admin", password=secret) as camera:
        async def camera_of(hook, _request):
            return {"name": camera.url}
        async with HookBackend({"connect": decides(playStream=rewrite), "playStream": camera_of}) as backend:
            server = pull({**backend.application(), "log": {"level": "trace", "rate": 0}})
            async with WcsClient(server.ws_url) as client:
                await client.connect()
                peer, identifier = await wcs_play(client, "front-door")
                await peer.wait_frames(10, LIMIT_SECONDS)
                shown = f"rtsp://127.0.0.1:{camera.port}/live"
                # And one that knows the URL itself; both share the camera.
                other = await watch(server, camera.url)
                await other.wait_frames(5, LIMIT_SECONDS)
                assert [s["players"] for s in listed(server)] == [2]
                texts = {path: (await get(server, path))[2] for path in ("/api/streams", "/metrics", "/?action=stat")}
                for path in ("stream/find_all", "rtsp/find_all", "connection/find_all"):
                    texts[path] = json.dumps(await found(server, path))
                assert shown in texts["/api/streams"] and shown in texts["rtsp/find_all"]
                # By the URL as by what is shown of it.
                for name in (shown, camera.url):
                    streams = await found(server, "stream/find", {"name": name, "published": True})
                    assert [stream["name"] for stream in streams] == [shown]
                    assert await found(server, "rtsp/find", {"uri": name}) == [{"uri": shown, "status": "PLAYING"}]
                await camera.kill()
                await until("the loss is in the log", lambda: "pulled source is lost" in server.log_path.read_text())
                await done(server, "rtsp/terminate", {"uri": shown})
                status = await client.status(identifier, "FAILED")
                texts["status"] = json.dumps(status)
                await peer.close()
                await other.close()
            # A password that is not escaped, and one in the query.
            for url in (f"rtsp://admin:{secret}/x@127.0.0.1:{camera.port}/live",
                        f"rtsp://127.0.0.1:{camera.port}/live?user=a&password={secret}"):
                backend.answers["playStream"] = 200
                await refusal(server, url)
    server.stop()
    texts["log"] = server.log_path.read_text()
    assert shown in texts["log"]
    for where, text in texts.items():
        assert secret not in text, (where, next(line for line in text.splitlines() if secret in line)[:500])


async def test_sources_of_the_configuration(pull, new_page):
    """Under names of their own: one is always there, another for its viewers; by WebRTC and by HLS."""
    async with Camera("--sound", "pcmu") as camera, Camera() as other:
        server = pull({"hls": {"segment_duration": "2s"}}, sources=[
            {"name": "yard", "url": camera.url, "mode": "always"}, {"name": "gate", "url": other.url}])
        await server.wait_live("yard", LIMIT_SECONDS)
        assert other.events == []
        # Nobody else may publish under these names, whether they are live or not.
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            for name in ("yard", "gate"):
                refused = await client.publish(name, make_offer(True))
                assert await client.failure(refused) == "Stream name is already in use"
        page = await new_page()
        await page.wcs_play(server, "gate")
        await page.wait_frames("play", 10, LIMIT_SECONDS)
        peer = await watch(server, "yard")
        await peer.wait_frames(10, LIMIT_SECONDS)
        await peer.wait_audio(LOUD)
        assert [(s["name"], s["players"]) for s in listed(server)] == [("gate", 1), ("yard", 1)]
        await peer.close()
        await page.close()
        await until("it ends with its viewer", lambda: [s["name"] for s in listed(server)] == ["yard"])
        # HLS begins it anew, and keeps it.
        frames = await asyncio.to_thread(decode, f"{server.hls_url}/gate/gate.m3u8", 20)
        assert frames == 20 and "gate" in [s["name"] for s in listed(server)]
        # RTSP players, too: this one as its only viewer.
        await done(server, "hls/terminate", {"name": "gate"})
        await until("it ends with its viewers", lambda: [s["name"] for s in listed(server)] == ["yard"])
        frames = await asyncio.to_thread(decode, server.rtsp("gate"), 20, {"rtsp_transport": "tcp"})
        assert frames == 20
        # What is always there comes back, though its publication was ended.
        assert (await call(server, "rtsp/terminate", {"uri": camera.url}))[0] == 200
        await until("it is begun anew", lambda: camera.events.count("play") == 2)
        await server.wait_live("yard", LIMIT_SECONDS)


async def test_a_camera_is_played_by_its_url_in_hls_and_rtsp(pull):
    """Neither has a name: its URL is encoded in theirs. The first request begins it, all share it; its password stays with who
    gave it."""
    server = pull({"hls": {"segment_duration": "2s"}, "log": {"level": "trace", "rate": 0}})
    secret = "se-cr+et"
    async with Camera(user="admin", password=secret) as camera:
        name = urllib.parse.quote(camera.url, safe="")
        by_hls, by_rtsp = await asyncio.gather(
            asyncio.to_thread(decode, f"{server.hls_url}/{name}/{name}.m3u8", 20),
            asyncio.to_thread(decode, server.rtsp(name), 20, {"rtsp_transport": "tcp"}))
        assert (by_hls, by_rtsp) == (20, 20)
        assert camera.events.count("play") == 1, camera.events
        shown = f"rtsp://127.0.0.1:{camera.port}/live"
        outputs = await found(server, "hls/find_all")
        assert [output["streamName"] for output in outputs] == [shown]
        texts = [json.dumps(outputs), (await get(server, "/api/streams"))[2], (await get(server, "/metrics"))[2]]
        await done(server, "hls/terminate", {"name": shown})
        await until("it ends with its viewers", lambda: listed(server) == [])
        # What is not there, and what is none of ours.
        async with ScriptedCamera({"DESCRIBE": ("404 Not Found", {}, "")}) as missing:
            for url, status in ((missing.url, 404), ("rtsp://127.0.0.1:99999/x", 503), ("rtsp://..%2f..%2fetc/passwd", 503),
                                ("../../x://y", 404), ("rtmp://127.0.0.1/x", 404)):
                path = urllib.parse.quote(url, safe="")
                code = await asyncio.to_thread(status_of, f"{server.hls_url}/{path}/index.m3u8")
                assert code == status, (url, code)
    server.stop()
    for text in [*texts, server.log_path.read_text()]:
        assert secret not in text and urllib.parse.quote(secret, safe="") not in text, next(
            line for line in text.splitlines() if secret in line)[:500]


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=LIMIT_SECONDS) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def decode(url: str, count: int, options: dict | None = None) -> int:
    """How many of so many pictures ffmpeg's players give."""
    with av.open(url, timeout=LIMIT_SECONDS, options=options or {}) as container:
        for index, _frame in enumerate(container.decode(video=0), 1):
            if index == count:
                return index
    return 0


async def test_the_operator_begins_and_ends_a_pull(pull):
    server = pull()
    async with Camera() as camera:
        uri = {"uri": camera.url}
        assert (await call(server, "rtsp/find", uri))[0] == (await call(server, "rtsp/terminate", uri))[0] == 404
        assert (await call(server, "rtsp/find_all"))[0] == 404
        await done(server, "rtsp/startup", uri)
        assert (await call(server, "rtsp/startup", uri))[0] == 409
        await until("it plays", lambda: found_status(server, camera.url, "PLAYING"))
        # Without a viewer it outlives the time that others linger.
        await asyncio.sleep(2)
        assert await found(server, "rtsp/find_all") == [{"uri": camera.url, "status": "PLAYING"}]
        peer = await watch(server, camera.url)
        await peer.wait_frames(10, LIMIT_SECONDS)
        assert camera.events.count("client") == 1
        await peer.close()
        await done(server, "rtsp/terminate", uri)
        await until("the camera is told", lambda: "teardown" in camera.events)
        assert (await call(server, "rtsp/find", uri))[0] == 404
        # One that cannot be reached is gone by itself, as WCS has it.
        nobody = {"uri": "rtsp://127.0.0.1:1/live"}
        await done(server, "rtsp/startup", {"uri": "rtsp://127.0.0.1:1024/live"})
        assert (await call(server, "rtsp/startup", nobody))[0] == 400, "port 1 is not one of RTSP's"
        assert (await call(server, "rtsp/startup", {"uri": "http://127.0.0.1/"}))[0] == 400

        async def is_gone() -> bool:
            return (await call(server, "rtsp/find", {"uri": "rtsp://127.0.0.1:1024/live"}))[0] == 404
        await until("it is gone", is_gone)


async def test_viewers_of_a_camera_that_stays_away_are_told(pull):
    server = pull(keep_viewers="1s")
    async with Camera() as camera, WcsClient(server.ws_url) as client:
        await client.connect()
        peer, identifier = await wcs_play(client, camera.url)
        await peer.wait_frames(5, LIMIT_SECONDS)
        await camera.kill()
        assert await client.failure(identifier, LIMIT_SECONDS) == "Stream failed"
        await peer.close()


async def test_nothing_is_pulled_where_that_is_switched_off(start_server):
    server = start_server({"rtsp": {"pull": {"enabled": False}}})
    assert await refusal(server, "rtsp://198.51.100.1/live") == "Failed to get agent storage"
    assert (await call(server, "rtsp/find_all"))[0] == 501
