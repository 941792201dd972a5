"""Players that know HLS read Weir's playlists: each plays the codecs that it plays from a static HLS made by ffmpeg.

In the short form a player reads the static one only where it fails with Weir's.
"""

from __future__ import annotations

import asyncio

import pytest

import hls_players
from hls_players import ChromiumPlayer, FileServer, Pair, Played, make_static
from rtp_publisher import RtpPublisher

PAIRS = [
    Pair("H264", "AAC", "fMP4"), Pair("H264", "Opus", "fMP4"), Pair("H265", "AAC", "fMP4"), Pair("VP9", "Opus", "fMP4"),
    Pair("AV1", "Opus", "fMP4"), Pair("H264", "AAC", "MPEG-TS"),
]
CLIP_SECONDS = 6
# What a publisher sends at most: the players are done before.
ROUNDS = 30
# Without these the reference would say nothing.
CERTAIN = {("ffmpeg", pair.name) for pair in PAIRS}
SETTINGS = {"media": {"overload_delay": "1m"}}


async def table(
        players: dict, urls: dict[str, str], known: dict[tuple[str, str], Played]) -> dict[tuple[str, str], Played]:
    """Every player plays every stream but those of which it is known, one after the other; the players at a time."""

    async def all_of(player: str) -> dict[tuple[str, str], Played]:
        return {(player, name): known.get((player, name)) or await players[player](url) for name, url in urls.items()}
    rows = await asyncio.gather(*(all_of(player) for player in players))
    return {key: played for row in rows for key, played in row.items()}


def text(players, reference: dict, ours: dict) -> str:
    """The table of docs/hls.md."""
    lines = [f"| | {' | '.join(players)} |", f"| --- |{' --- |' * len(players)}"]
    for pair in PAIRS:
        marks = []
        for player in players:
            can, does = reference[player, pair.name].plays, ours[player, pair.name].plays
            marks.append("plays" if can and does else "no" if not can and not does else
                         "plays (the static one not)" if does else "FAILS")
        lines.append(f"| {pair.text} | {' | '.join(marks)} |")
    return "\n".join(lines)


@pytest.mark.limit(150)
async def test_players_play_what_they_play_of_a_static_hls(start_server, new_page, clips, full, tmp_path, record_property):
    plain = start_server({**SETTINGS, "hls": {"auto_start": True, "transport_streams": ["ts-*"]}})
    aac = start_server({**SETTINGS, "hls": {"auto_start": True, "audio": "aac"}})
    players = {
        "ffmpeg": hls_players.ffmpeg, "GStreamer hlsdemux": hls_players.gstreamer,
        "GStreamer hlsdemux2": hls_players.gstreamer2, "VLC": hls_players.vlc,
        "Chromium": ChromiumPlayer(await new_page("hls.html"), True),
        "the page's player": ChromiumPlayer(await new_page("hls.html"), False),
    }
    files = tmp_path / "files"
    files.mkdir()
    sent = {pair.name: clips(pair.video, CLIP_SECONDS) for pair in PAIRS}
    for pair in PAIRS:
        make_static(files, pair, sent[pair.name])

    publishers = {pair.name: RtpPublisher(pair.video) for pair in PAIRS}
    servers = {pair.name: aac if pair.audio == "AAC" and pair.container == "fMP4" else plain for pair in PAIRS}
    for name, publisher in publishers.items():
        await publisher.post(servers[name].whip(name))
    sending = [asyncio.create_task(publisher.send([sent[name]] * ROUNDS)) for name, publisher in publishers.items()]
    try:
        ours = await table(players, {name: f"{servers[name].hls_url}/{name}/{name}.m3u8" for name in publishers}, {})
    finally:
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
    for publisher in publishers.values():
        await publisher.close()
    sure = {} if full else {key: played for key, played in ours.items() if played.plays}
    async with FileServer(files) as origin:
        reference = await table(players, {pair.name: f"{origin}/{pair.name}/index.m3u8" for pair in PAIRS}, sure)
    assert all(reference[one].plays for one in CERTAIN), {one: reference[one] for one in CERTAIN}
    print(told := text(players, reference, ours))
    record_property("players", told)
    failed = {key: (reference[key], ours[key]) for key in reference if reference[key].plays and not ours[key].plays}
    assert not failed, failed
