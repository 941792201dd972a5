"""Bug reports, session debug logs, client logs and metrics, snapshots and data, as clients and files show them."""

import asyncio
import re

import pytest

from aiortc_peer import wcs_play, wcs_publish
from hook_backend import HookBackend
from wcs_client import WcsClient

NO_MEDIA_LIMIT_SECONDS = 20
SECRETS = {"sipPassword": "hush-1", "custom": {"token": "hush-2", "anything": "hush-3"}}
# A bare header has 12 bytes; extensions of browsers and aiortc are far shorter than this.
LONGEST_HEADER = 80


def folder(server):
    return server.directory / "state" / "diagnostics"


def keys_of(sdp: str) -> list[str]:
    """What in an SDP is a key or a password."""
    return re.findall(r"a=ice-pwd:(\S+)", sdp) + re.findall(r"a=fingerprint:\S+ (\S+)", sdp)


async def report(client: WcsClient, server, limit: float = 8, **members) -> str:
    await client.send("submitBugReport", {"text": "it is black", "type": "other", **members})
    name, = await client.expect("notifyBugReport", limit=limit)
    assert re.fullmatch(r"bug-report-\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{8}(-\d+)?\.txt", name), name
    path = folder(server) / name
    assert path.stat().st_mode & 0o777 == 0o600 and folder(server).stat().st_mode & 0o777 == 0o700
    return path.read_text()


async def test_a_bug_report_has_signalling_statistics_and_no_secret(start_server, name):
    async with HookBackend() as backend:
        server = start_server(backend.application())
        async with WcsClient(f"{server.ws_url}?token=hush-4") as client:
            user = await client.connect(**SECRETS)
            publisher, identifier = await wcs_publish(client, name)
            text = await report(client, server, text="black; password=hush-5; bearer: Bearer hush-6")
            await backend.wait(lambda hooks: hooks[-1].method == "BugReportStatusEvent")
            assert (folder(server) / backend.hooks[-1].body["filename"]).exists()
            answer = publisher.pc.remoteDescription.sdp
            for secret in keys_of(publisher.pc.localDescription.sdp) + keys_of(answer) + [user["authToken"], "hush-"]:
                assert secret not in text, secret
            for part in (f"received publishStream mediaSessionId={identifier} name={name}", "    a=ice-pwd:***",
                         "    a=fingerprint:***", "sent setRemoteSDP", "sent status PUBLISHING",
                         "backend told StreamStatusEvent PUBLISHING", "audio=opus video=VP8", "clientVersion: 2.0"):
                assert part in text, (part, text)
            assert re.search(r"received \d+ packets \d+ bytes, sent \d+ packets", text), text
            await publisher.close()
        assert server.metrics()['weir_diagnostics_files_total{kind="report",result="kept"}'] == 1


@pytest.mark.limit(90)
async def test_without_media_a_report_shows_headers_of_both_sides(start_server, name):
    server = start_server({"media": {"workers": 2}})
    async with WcsClient(server.ws_url) as ann, WcsClient(server.ws_url) as bob:
        await ann.connect()
        await bob.connect()
        publisher, _ = await wcs_publish(ann, name)
        player, _ = await wcs_play(bob, name)
        text = await report(bob, server, NO_MEDIA_LIMIT_SECONDS, type="no_media")
        sections = re.split(r"\n== ", text)
        sent, = (s for s in sections if s.startswith("Packets of PLAYING"))
        received, = (s for s in sections if s.startswith("Packets of the publisher"))
        assert "dtls=up" in sent and re.search(r"dtls=up path=\S+:\d+ to \S+", received), received
        ssrcs = re.findall(r"a=ssrc:(\d+) cname", publisher.pc.localDescription.sdp)
        headers = re.findall(r"seq=(\d+) ts=(\d+).* \+(\d+) ([0-9a-f]*)$", received, re.M)
        assert len(headers) > 30, received
        for sequence, timestamp, _, hexadecimal in headers:
            header = bytes.fromhex(hexadecimal)
            assert 12 <= len(header) <= LONGEST_HEADER and header[0] >> 6 == 2
            assert int.from_bytes(header[2:4]) == int(sequence)
            assert str(int.from_bytes(header[8:12])) in ssrcs
        for kind in ("audio opus", "video VP8"):
            assert re.search(rf"track: {kind} ssrc=[0-9a-f]+ payloadType=\d+ flowing, [1-9]\d* packets", sent, re.I), sent
        before, after = (int(n) for n in re.findall(r"(?:before|after): .*sent (\d+) packets", sent))
        assert after > before
        await player.close()
        await publisher.close()


async def test_a_debugged_session_has_a_log_file(start_server, name):
    async with HookBackend() as backend:
        server = start_server(backend.application())
        async with WcsClient(server.ws_url) as client:
            await client.connect(**SECRETS)
            await client.send("sessionDebug", {"command": "start"})
            assert await client.expect("notifySessionDebugEvent") == [{"status": "STARTED"}]
            publisher, identifier = await wcs_publish(client, name)
            await client.send("pushLogs", {"logs": "a line of the page; token=hush-7\n"})
            await client.send("sessionDebug", {"command": "stop"})
            stopped, = await client.expect("notifySessionDebugEvent")
            assert stopped["status"] == "STOPPED" and re.fullmatch(r"session-[0-9TZ.]+-[0-9a-f]{8}\.log", stopped["file"])
            text = (folder(server) / stopped["file"]).read_text()
            for part in (f"received publishStream mediaSessionId={identifier}", "sent status PUBLISHING",
                         "backend asked publishStream", "ICE and DTLS are up", "client a line of the page; token=***"):
                assert part in text, (part, text)
            assert "hush-" not in text
            await backend.wait(lambda hooks: hooks[-1].short == "SessionDebugStatusEvent STOPPED")
            assert backend.hooks[-1].body["file"] == stopped["file"]
            await client.send("pushLogs", {"logs": "later\n"})
            await publisher.close()
    logs = [path.read_text() for path in folder(server).glob("client-*.log")]
    assert len(logs) == 1 and "client later" in logs[0]


async def test_a_full_folder_says_so(start_server, name):
    server = start_server({"diagnostics": {"max_files": 1}})
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        await report(client, server)
        await client.send("submitBugReport", {"text": "", "type": ""})
        fail, = await client.expect("fail")
        assert fail == {"status": "FAILED", "info": "Bug report: Not kept: the server has too many diagnostic files"}
        await client.send("sessionDebug", {"command": "start"})
        fail, = await client.expect("fail")
        assert fail["info"] == "Session debug: Not kept: the server has too many diagnostic files"
    metrics = server.metrics()
    assert metrics['weir_diagnostics_files_total{kind="report",result="kept"}'] == 1
    assert metrics['weir_diagnostics_files_total{kind="report",result="too_many_files"}'] == 1
    assert metrics["weir_diagnostics_files"] == 1
    assert server.log_path.read_text().count("diagnostics cannot be kept") == 1


async def test_diagnostics_can_be_switched_off(start_server):
    server = start_server({"diagnostics": {"enabled": False}})
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        await client.send("submitBugReport", {"text": "", "type": ""})
        assert (await client.expect("fail"))[0]["info"] == "Bug report: Not kept: diagnostics are switched off"
        await client.send("pushLogs", {"logs": "x"})
        await client.send("sendData", {"operationId": "o", "payload": 1})
        await client.expect("DataStatusEvent")
    assert not folder(server).exists()


async def test_client_metrics_are_off_until_they_are_asked_for(start_server, name):
    server = start_server()
    async with WcsClient(server.ws_url) as client:
        user = await client.connect(webRTCMetricsServerDescription={"types": {}})
        assert "webRTCMetricsServerDescription" not in user
    server = start_server({"diagnostics": {"client_metrics": True}})
    async with WcsClient(server.ws_url) as client:
        description = (await client.connect())["webRTCMetricsServerDescription"]
        assert {"types", "sampling", "batchSize", "collect"} <= description.keys() and "ingestPoint" not in description
        for kind in description["types"].values():
            assert isinstance(kind["metrics"], str) and isinstance(kind["contains"], dict)
        publisher, identifier = await wcs_publish(client, name)
        await client.send("webRTCMetricsClientDescription", {
            "mediaSessionId": identifier, "compression": "none", "headers": "outbound-rtp.7.nackCount,outbound-rtp.7.pliCount"})
        await client.send("webRTCMetricsBatch", {"mediaSessionId": identifier, "metrics": ["1;2", "3;"]})
        text = await report(client, server)
        assert "client outbound-rtp.7.nackCount=3\n    client outbound-rtp.7.pliCount=2" in text, text
        await publisher.close()


async def test_data_of_a_client_that_leaves_has_failed(start_server):
    """The backend hears of every operation once, also when the client does not wait for it."""
    asked = asyncio.Event()

    async def never(hook, request):
        asked.set()
        await asyncio.sleep(3600)

    async with HookBackend({"OnDataEvent": never}) as backend:
        server = start_server({**backend.application(), "hooks": {"timeout": "3s"}})
        async with WcsClient(server.ws_url) as client:
            await client.connect()
            await client.send("sendData", {"operationId": "o", "payload": 1})
            await asyncio.wait_for(asked.wait(), 8)
        await backend.sequence([
            "connect", "ConnectionStatusEvent ESTABLISHED", "OnDataEvent", "DataStatusEvent FAILED",
            "ConnectionStatusEvent DISCONNECTED"])
        assert backend.of("DataStatusEvent")[0].body["info"] == "Stopped by session disconnect"


async def test_a_flood_of_reports_and_logs_is_bounded(start_server):
    server = start_server({"diagnostics": {"max_log": "64KiB"}})
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        for number in range(40):
            await client.send("submitBugReport", {"text": "x" * 100_000, "type": f"{number}"})
            await client.send("pushLogs", {"logs": "y" * 10_000})
        for _ in range(20):
            await client.expect("notifyBugReport")
        infos = {(await client.expect("fail"))[0]["info"] for _ in range(20)}
        assert infos <= {"Bug report: Not kept: too many bug reports of this session", "Too many requests are waiting"}
    reports = list(folder(server).glob("bug-report-*"))
    assert len(reports) == 20 and all(path.stat().st_size < 64 << 10 for path in reports)
    log, = folder(server).glob("client-*.log")
    assert log.stat().st_size <= 64 << 10
    assert server.metrics()["weir_diagnostics_lines_left_out_total"] > 0
