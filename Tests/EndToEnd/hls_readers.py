"""HLS viewers at the level of the protocol that keep what they load and when it came: one reads parts as a low-latency
player does, one whole segments as players do that know nothing of low latency. What they would show, and how late, is
told by the numbers in the pictures.
"""

from __future__ import annotations

import asyncio
import bisect
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

import av

import hls_playlist
from hls_client import HLSClient, has_part
from numbered_clip import FRAME_RATE
from recorded_media import Recorded


@dataclass
class Piece:
    """A part, or a whole segment."""

    number: int
    data: bytes
    duration: float
    arrived: float  # time.time()
    map: str | None
    discontinuity_number: int


@dataclass
class Reader:
    """What a viewer has loaded of one rendition, in order."""

    client: HLSClient
    uri: str
    playlists: list[hls_playlist.MediaPlaylist] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    maps: dict[str, bytes] = field(default_factory=dict)
    # How many pieces there were when what the first playlist lists had been loaded.
    at_first: int = 0
    # Set from outside: it stops at the next version of the playlist.
    is_enough: bool = False

    @property
    def last(self) -> hls_playlist.MediaPlaylist:
        return self.playlists[-1]

    async def _take(self, segment: hls_playlist.Segment, uri: str, duration: float) -> None:
        if segment.map and segment.map not in self.maps:
            self.maps[segment.map] = await self.client.get(urljoin(self.uri, segment.map))
        data = await self.client.get(urljoin(self.uri, uri))
        self.pieces.append(
            Piece(segment.number, data, duration, time.time(), segment.map, segment.discontinuity_number))

    async def _load(self, playlist: hls_playlist.MediaPlaylist) -> None:
        raise NotImplementedError

    async def _next(self) -> hls_playlist.MediaPlaylist:
        """Waits for the next version of the playlist."""
        raise NotImplementedError

    async def read(self) -> "Reader":
        """Follows the playlist until it ends, or it is enough; every version is held to the rules, alone and against the one before."""
        _, playlist = await self.client.playlist(self.uri)
        while True:
            if self.playlists:
                hls_playlist.successor(self.last, playlist)
            self.playlists.append(playlist)
            await self._load(playlist)
            self.at_first = self.at_first or len(self.pieces)
            if playlist.ended or self.is_enough:
                return self
            playlist = await self._next()

    def write(self, directory: Path, stem: str) -> list[tuple[Path, list[Piece]]]:
        """Files of what was loaded, one for each stretch with one initialisation section between discontinuities."""
        runs: list[list[Piece]] = []
        for piece in self.pieces:
            run = runs[-1] if runs else []
            if not run or (run[0].map, run[0].discontinuity_number) != (piece.map, piece.discontinuity_number):
                runs.append(run := [])
            run.append(piece)
        out = []
        for index, run in enumerate(runs):
            path = directory / f"{stem}-{index}.{'mp4' if run[0].map else 'ts'}"
            path.write_bytes(self.maps.get(run[0].map or "", b"") + b"".join(piece.data for piece in run))
            out.append((path, run))
        return out


class LowLatencyReader(Reader):
    """Loads each part as soon as it is listed; asks for the next by blocking reload."""

    _seen: tuple[int, int] = (-1, -1)

    async def _load(self, playlist: hls_playlist.MediaPlaylist) -> None:
        for segment in [*playlist.segments, *([playlist.open] if playlist.open else [])]:
            if segment.gap or segment.number < self._seen[0]:
                continue
            if not segment.parts:
                if segment.number > self._seen[0]:
                    await self._take(segment, segment.uri, segment.duration)
                    self._seen = (segment.number, 1 << 30)
                continue
            for index, part in enumerate(segment.parts):
                if (segment.number, index) > self._seen and not part.gap:
                    await self._take(segment, part.uri, part.duration)
                    self._seen = (segment.number, index)

    async def _next(self) -> hls_playlist.MediaPlaylist:
        number, part = self.last.last
        wanted = (number, part + 1) if self.last.open else (number + 1, 0)
        _, playlist = await self.client.playlist(self.uri, msn=wanted[0], part=wanted[1])
        assert has_part(playlist, *wanted), (playlist.last, wanted)
        return playlist


class OrdinaryReader(Reader):
    """Loads whole segments from a playlist that it loads again and again; begins three target durations from its end, or
    with `from_start` at its first segment (§6.3.3, §6.3.4)."""

    def __init__(self, client: HLSClient, uri: str, from_start: bool = False):
        super().__init__(client, uri)
        self.from_start = from_start
        self._seen = -1

    async def _load(self, playlist: hls_playlist.MediaPlaylist) -> None:
        if not self.playlists[1:] and not self.from_start:
            self._seen = playlist.sequence + len(playlist.segments) - 4
        for segment in playlist.segments:
            if segment.number > self._seen and not segment.gap:
                await self._take(segment, segment.uri, segment.duration)
                self._seen = segment.number

    async def _next(self) -> hls_playlist.MediaPlaylist:
        await asyncio.sleep(self.last.target / 2)
        _, playlist = await self.client.playlist(self.uri)
        return playlist


@dataclass
class Media:
    """What was loaded, decoded."""

    facts: Recorded
    # For each picture when the piece with its first byte had been loaded, on time.time().
    arrivals: list[float]


def decoded(path: Path, pieces: list[Piece], head: int) -> Media:
    """Decodes the file; no decoder may say a word (media_file.decodes is for that). `head`: bytes before the pieces."""
    ends, at = [], head
    for piece in pieces:
        at += len(piece.data)
        ends.append(at)
    facts, arrivals = Recorded(), []
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.stream.type == "video" and packet.pos is not None and packet.pos >= 0 and packet.size:
                arrivals.append(pieces[min(bisect.bisect_right(ends, packet.pos), len(pieces) - 1)].arrived)
            for frame in packet.decode():
                facts.take(frame, frame.time)
    return Media(facts, arrivals)


@dataclass
class Shown:
    """What a player would have shown that begins where it has to, and waits where something is not there in time."""

    first_delay: float
    delay: float
    stalls: int


def shown(media: Media, begin: int, start: float, epoch: float) -> Shown:
    """Plays from the picture of index `begin`, at the time `start`; `epoch`: when the picture of number 0 was captured."""
    stalls, late = 0, 0.0
    first = media.facts.pictures[begin]
    for picture, arrived in zip(media.facts.pictures[begin:], media.arrivals[begin:]):
        due = start + picture.time - first.time + late
        if arrived > due + 1 / FRAME_RATE:
            stalls, late = stalls + 1, late + arrived - due
    captured = epoch + first.number / FRAME_RATE
    return Shown(start - captured, start + late - captured, stalls)
