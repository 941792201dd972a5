"""A protocol-level HLS client: follows a stream as a low-latency player does, and holds every playlist to the rules."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import m3u8

import hls_playlist

REQUEST_LIMIT_SECONDS = 25


@dataclass
class Followed:
    """What was loaded of one rendition."""

    playlists: list[hls_playlist.MediaPlaylist] = field(default_factory=list)
    deltas: int = 0
    # By media sequence number.
    segments: dict[int, bytes] = field(default_factory=dict)
    maps: dict[str, bytes] = field(default_factory=dict)
    map_of: dict[int, str] = field(default_factory=dict)
    parts: int = 0

    @property
    def last(self) -> hls_playlist.MediaPlaylist:
        return self.playlists[-1]

    def write(self, path: Path) -> Path:
        """The segments one behind the other, for ffprobe. All of them must have one initialisation section, or none (MPEG-TS)."""
        assert len(set(self.map_of.values())) == 1, self.map_of
        first = next(iter(self.map_of.values()))
        path.write_bytes(self.maps.get(first, b"") + b"".join(data for _, data in sorted(self.segments.items())))
        return path


def has_part(playlist: hls_playlist.MediaPlaylist, number: int, part: int) -> bool:
    """Whether an answer to a blocking request has what was asked for (§6.2.5.2)."""
    last, last_part = playlist.last
    if playlist.ended or last > number:
        return True
    whole = next((segment for segment in playlist.segments if segment.number == number), None)
    return len(whole.parts) > part if whole else last == number and last_part >= part


class HLSClient:
    def __init__(self, session: aiohttp.ClientSession, url: str):
        self.session = session
        self.url = url
        self.variants: list[tuple[dict[str, str], str]] = []
        self.renditions: list[dict[str, str]] = []

    async def get(self, url: str, **headers) -> bytes:
        limit = aiohttp.ClientTimeout(total=REQUEST_LIMIT_SECONDS)
        async with self.session.get(url, headers=headers, timeout=limit) as got:
            body = await got.read()
            assert got.status == 200, (url, got.status, body[:300])
            return body

    async def open(self) -> "HLSClient":
        """Loads the multivariant playlist."""
        body = await self.get(self.url)
        self.variants, self.renditions = hls_playlist.multivariant(body)
        parsed = m3u8.loads(body.decode(), uri=self.url)
        assert parsed.is_variant and len(parsed.playlists) == len(self.variants)
        return self

    @property
    def attributes(self) -> dict[str, str]:
        return self.variants[0][0]

    def uri(self, index: int = 0) -> str:
        return urljoin(self.url, self.variants[index][1])

    async def playlist(self, uri: str, **directives) -> tuple[bytes, hls_playlist.MediaPlaylist]:
        query = "&".join(f"_HLS_{key}={value}" for key, value in directives.items())
        joint = "" if not query else "&" if "?" in uri else "?"
        body = await self.get(uri + joint + query)
        playlist = hls_playlist.media(body)
        parsed = m3u8.loads(body.decode(), uri=uri)
        # The module counts a segment that has only parts yet.
        assert len(parsed.segments) in (len(playlist.segments), len(playlist.segments) + 1)
        return body, playlist

    async def delta(self, uri: str, followed: Followed) -> None:
        """Compares a delta update with the whole playlist, if both are of one moment."""
        before, whole = await self.playlist(uri)
        _, update = await self.playlist(uri, skip="YES")
        after, _ = await self.playlist(uri)
        if before == after:
            hls_playlist.delta(whole, update)
            followed.deltas += 1

    async def follow(self, seconds: float, index: int = 0, media: bool = True, deltas: bool = True) -> Followed:
        """Loads what comes in that time by blocking requests; with `media` every segment and the parts it is made of.

        `deltas`: delta updates are compared; behind a cache they and the whole playlist are not of one moment.
        """
        uri = self.uri(index)
        followed = Followed()
        _, playlist = await self.playlist(uri)
        followed.playlists.append(playlist)
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end and not playlist.ended:
            if media:
                await self.load(uri, playlist, followed)
            number, part = playlist.last
            wanted = (number, part + 1) if playlist.open else (number + 1, 0)
            _, playlist = await self.playlist(uri, msn=wanted[0], part=wanted[1])
            assert has_part(playlist, *wanted), (playlist.last, wanted)
            hls_playlist.successor(followed.last, playlist)
            followed.playlists.append(playlist)
            if deltas and len(followed.playlists) % 4 == 0:
                await self.delta(uri, followed)
        if media:
            await self.load(uri, playlist, followed)
        return followed

    async def load(self, uri: str, playlist: hls_playlist.MediaPlaylist, followed: Followed) -> None:
        for segment in playlist.segments:
            if segment.number in followed.segments or segment.gap:
                continue
            if segment.map and segment.map not in followed.maps:
                followed.maps[segment.map] = await self.get(urljoin(uri, segment.map))
            whole = await self.get(urljoin(uri, segment.uri))
            if segment.parts:
                parts = [await self.get(urljoin(uri, part.uri)) for part in segment.parts]
                assert b"".join(parts) == whole, f"parts of {segment.number} are not the segment"
                followed.parts += len(parts)
            followed.segments[segment.number] = whole
            followed.map_of[segment.number] = segment.map or ""
