"""A strict reader of HLS playlists (draft-pantos-hls-rfc8216bis): every MUST that binds a server and can be seen in one
playlist, in two versions of one, or in the playlists of one presentation, is checked; what breaks one is an error.

    python hls_playlist.py FILE...      the files are versions of one media playlist, in order; *.delta.m3u8 beside
                                        *.full.m3u8 is the delta update of the same moment
"""
from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

ROUNDING = 2e-5  # five digits behind the point
INTEGER = re.compile(r"[0-9]{1,20}")
FLOAT = re.compile(r"[0-9]+(\.[0-9]+)?")
ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"\r\n]*"|[^",\s][^",]*)(,|$)')
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)")
# Tags that stand once in a media playlist (§4.4.3), and may not stand in a multivariant one.
ONCE = ("VERSION", "TARGETDURATION", "MEDIA-SEQUENCE", "DISCONTINUITY-SEQUENCE", "ENDLIST", "PLAYLIST-TYPE",
        "I-FRAMES-ONLY", "PART-INF", "SERVER-CONTROL", "INDEPENDENT-SEGMENTS", "SKIP", "START")
KNOWN = set(ONCE) | {"MAP", "PROGRAM-DATE-TIME", "GAP", "PART", "DISCONTINUITY", "PRELOAD-HINT", "RENDITION-REPORT"}
MULTIVARIANT = {"STREAM-INF", "MEDIA", "I-FRAME-STREAM-INF"}


class Broken(AssertionError):
    """A rule that a playlist breaks, with its section."""


def rule(holds: bool, section: str, text: str) -> None:
    if not holds:
        raise Broken(f"§{section}: {text}")


def attributes(text: str) -> dict[str, str]:
    """An attribute list (§4.2); quoted values keep their quotes."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = ATTRIBUTE.match(text, at)
        rule(match is not None, "4.2", f"no attribute list: {text!r}")
        assert match
        rule(match[1] not in found, "4.2", f"attribute {match[1]} stands twice")
        found[match[1]] = match[2]
        at = match.end()
        rule(match[3] == "," or at == len(text), "4.2", f"no comma in {text!r}")
    return found


def quoted(value: str | None, section: str, name: str) -> str:
    rule(value is not None and len(value) > 2 and value[0] == value[-1] == '"', section, f"{name} is no quoted string: {value}")
    assert value
    return value[1:-1]


def integer(value: str | None, section: str, name: str) -> int:
    rule(value is not None and INTEGER.fullmatch(value) is not None and int(value) < 1 << 64, section, f"{name} is no decimal-integer: {value}")
    return int(value or 0)


def seconds(value: str | None, section: str, name: str) -> float:
    rule(value is not None and FLOAT.fullmatch(value) is not None, section, f"{name} is no decimal-floating-point: {value}")
    return float(value or 0)


@dataclass
class Part:
    uri: str
    duration: float
    independent: bool
    gap: bool


@dataclass
class Segment:
    number: int
    discontinuity_number: int
    uri: str | None = None
    duration: float = 0
    parts: list[Part] = field(default_factory=list)
    discontinuity: bool = False
    gap: bool = False
    map: str | None = None
    date: datetime | None = None


@dataclass
class MediaPlaylist:
    version: int = 1
    target: int = 0
    sequence: int = 0
    discontinuity_sequence: int = 0
    part_target: float | None = None
    control: dict[str, str] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    open: Segment | None = None
    hint: str | None = None
    reports: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    skipped: int = 0
    ended: bool = False
    tags: list[str] = field(default_factory=list)

    @property
    def duration(self) -> float:
        return sum(segment.duration for segment in self.segments)

    @property
    def last(self) -> tuple[int, int]:
        """Number of the last segment that has anything, and of its last part."""
        if self.open and self.open.parts:
            return self.open.number, len(self.open.parts) - 1
        return self.sequence + self.skipped + len(self.segments) - 1, -1


def lines_of(data: bytes) -> list[str]:
    rule(not data.startswith(b"\xef\xbb\xbf"), "4.1", "a byte order mark")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Broken(f"§4.1: no UTF-8: {error}") from error
    rule(not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]", text), "4.1", "a control character")
    lines = text.replace("\r\n", "\n").split("\n")
    rule(lines[0] == "#EXTM3U", "4.4.1.1", "the first line is not #EXTM3U")
    rule(all(line == line.strip() for line in lines), "4.1", "white space around a line")
    return [line for line in lines[1:] if line]


def split(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.removeprefix("#EXT-X-"), value


def media(data: bytes) -> MediaPlaylist:
    """Reads a media playlist and checks it by itself."""
    lines = lines_of(data)
    playlist = MediaPlaylist()
    values: dict[str, str] = {}
    for line in lines:
        if line.startswith("#EXT-X-"):
            name, value = split(line)
            rule(name not in MULTIVARIANT, "4.1", f"{name} in a media playlist")
            rule(name in KNOWN, "4", f"{name} is a tag that we do not write")
            if name in ONCE:
                rule(name not in values, "4.4", f"{name} stands twice")
                values[name] = value
            playlist.tags.append(name)
    rule("TARGETDURATION" in values, "4.4.3.1", "no target duration")
    playlist.target = integer(values["TARGETDURATION"], "4.4.3.1", "target duration")
    playlist.version = integer(values.get("VERSION", "1"), "4.4.1.2", "version")
    playlist.sequence = integer(values.get("MEDIA-SEQUENCE", "0"), "4.4.3.2", "media sequence")
    playlist.discontinuity_sequence = integer(values.get("DISCONTINUITY-SEQUENCE", "0"), "4.4.3.3", "discontinuity sequence")
    playlist.ended = "ENDLIST" in values
    if "PART-INF" in values:
        playlist.part_target = seconds(attributes(values["PART-INF"]).get("PART-TARGET"), "4.4.3.7", "PART-TARGET")
    playlist.control = attributes(values.get("SERVER-CONTROL", ""))
    if "SKIP" in values:
        playlist.skipped = integer(attributes(values["SKIP"]).get("SKIPPED-SEGMENTS"), "4.4.5.2", "SKIPPED-SEGMENTS")
    read_segments(playlist, lines)
    check_control(playlist, values)
    check_versions(playlist, values)
    check_durations(playlist)
    check_dates(playlist)
    return playlist


def read_segments(playlist: MediaPlaylist, lines: list[str]) -> None:
    number = playlist.sequence + playlist.skipped
    discontinuity = playlist.discontinuity_sequence
    current = Segment(number, discontinuity)
    in_force: str | None = None
    has_extinf = has_segment = False
    for line in lines:
        name, value = split(line)
        if not line.startswith("#"):
            rule(has_extinf, "4.4.4.1", f"{line} without EXTINF")
            rule(" " not in line and "/../" not in line, "4.1", f"no URI of ours: {line}")
            current.uri, current.map = line, in_force
            playlist.segments.append(current)
            number += 1
            has_segment, has_extinf = True, False
            current = Segment(number, discontinuity)
        elif line.startswith("#EXTINF:"):
            duration, comma, _ = line.removeprefix("#EXTINF:").partition(",")
            rule(comma == ",", "4.4.4.1", "EXTINF without a comma")
            current.duration = seconds(duration, "4.4.4.1", "EXTINF")
            has_extinf = True
        elif name in ("MEDIA-SEQUENCE", "DISCONTINUITY-SEQUENCE"):
            rule(not has_segment and not current.parts and not current.discontinuity, "4.4.3", f"{name} behind a segment")
        elif name == "DISCONTINUITY":
            rule(not current.parts, "4.4.4.9", "DISCONTINUITY behind parts of its segment")
            discontinuity += 1
            current.discontinuity, current.discontinuity_number = True, discontinuity
        elif name == "GAP":
            current.gap = True
        elif name == "MAP":
            rule(not current.parts, "4.4.4.9", "MAP behind parts of its segment")
            in_force = quoted(attributes(value).get("URI"), "4.4.4.5", "URI of MAP")
        elif name == "PROGRAM-DATE-TIME":
            rule(DATE.fullmatch(value) is not None, "4.4.4.6", f"no date: {value}")
            current.date = datetime.fromisoformat(value.replace("Z", "+00:00"))
        elif name == "PART":
            read_part(playlist, current, attributes(value))
        elif name == "PRELOAD-HINT":
            found = attributes(value)
            rule(found.get("TYPE") in ("PART", "MAP"), "4.4.5.3", "TYPE of PRELOAD-HINT")
            rule(playlist.hint is None, "6.2.6", "two hints of a type")
            playlist.hint = quoted(found.get("URI"), "4.4.5.3", "URI of PRELOAD-HINT")
        elif name == "RENDITION-REPORT":
            read_report(playlist, attributes(value))
    current.map = in_force
    if current.parts or current.date or current.discontinuity:
        rule(bool(current.parts), "4.4.4", "tags of a segment that is not there")
        playlist.open = current


def read_part(playlist: MediaPlaylist, segment: Segment, found: dict[str, str]) -> None:
    rule(playlist.part_target is not None, "4.4.3.7", "PART without PART-INF")
    rule(found.get("INDEPENDENT", "YES") == "YES" and found.get("GAP", "YES") == "YES", "4.4.4.9", "a flag that is not YES")
    part = Part(quoted(found.get("URI"), "4.4.4.9", "URI of PART"), seconds(found.get("DURATION"), "4.4.4.9", "DURATION"),
                "INDEPENDENT" in found, "GAP" in found)
    rule(part.duration <= (playlist.part_target or 0) + ROUNDING, "4.4.4.9", f"{part.uri} lasts {part.duration} > {playlist.part_target}")
    segment.parts.append(part)


def read_report(playlist: MediaPlaylist, found: dict[str, str]) -> None:
    uri = quoted(found.get("URI"), "4.4.5.4", "URI of RENDITION-REPORT")
    rule(not re.match(r"[a-z]+:|/", uri), "4.4.5.4", f"URI of a report is not relative: {uri}")
    part = integer(found["LAST-PART"], "4.4.5.4", "LAST-PART") if "LAST-PART" in found else None
    playlist.reports[uri] = (integer(found.get("LAST-MSN"), "4.4.5.4", "LAST-MSN"), part)


def check_control(playlist: MediaPlaylist, values: dict[str, str]) -> None:
    control = playlist.control
    if "HOLD-BACK" in control:
        rule(seconds(control["HOLD-BACK"], "4.4.3.8", "HOLD-BACK") >= 3 * playlist.target, "4.4.3.8", "HOLD-BACK below three target durations")
    if "CAN-SKIP-UNTIL" in control:
        until = seconds(control["CAN-SKIP-UNTIL"], "4.4.3.8", "CAN-SKIP-UNTIL")
        rule(until >= 6 * playlist.target, "4.4.3.8", "CAN-SKIP-UNTIL below six target durations")
    rule("CAN-SKIP-DATERANGES" not in control or "CAN-SKIP-UNTIL" in control, "4.4.3.8", "CAN-SKIP-DATERANGES alone")
    rule(control.get("CAN-BLOCK-RELOAD", "YES") == "YES", "4.4.3.8", "CAN-BLOCK-RELOAD")
    if playlist.part_target is not None:
        rule("PART-HOLD-BACK" in control, "4.4.3.8", "parts without PART-HOLD-BACK")
        hold = seconds(control["PART-HOLD-BACK"], "4.4.3.8", "PART-HOLD-BACK")
        rule(hold >= 2 * playlist.part_target, "4.4.3.8", "PART-HOLD-BACK below two part targets")
        rule(hold + ROUNDING >= 3 * playlist.part_target, "4.4.3.8", "PART-HOLD-BACK below three part targets (SHOULD)")
    if playlist.skipped:
        rule("CAN-SKIP-UNTIL" in control, "6.2.5.1", "a delta update without CAN-SKIP-UNTIL")
        rule(not playlist.ended, "6.2.5.1", "a delta update of an ended playlist")
    if playlist.ended:
        rule(playlist.hint is None, "4.4.5.3", "a hint at what will never come")
    rule(values.get("PLAYLIST-TYPE") is None, "6.2.2", "a playlist that was live has a type")


def check_versions(playlist: MediaPlaylist, values: dict[str, str]) -> None:
    needed = 3
    if "MAP" in playlist.tags:
        needed = 6
    if "SKIP" in values:
        needed = 9
    rule(playlist.version >= needed, "8", f"version {playlist.version} where {needed} is needed")
    # An update may have its MAP left out.
    rule(playlist.version <= max(needed, 6 if any(s.map for s in playlist.segments) else 0), "6.2.1", f"version {playlist.version} where {needed} does (SHOULD)")


def check_durations(playlist: MediaPlaylist) -> None:
    target = playlist.target
    for segment in playlist.segments:
        rule(int(segment.duration + 0.5) <= target, "4.4.3.1", f"{segment.uri} lasts {segment.duration} > {target}")
        if segment.parts:
            total = sum(part.duration for part in segment.parts)
            rule(abs(total - segment.duration) < ROUNDING * (len(segment.parts) + 1), "4.4.4.9", f"parts of {segment.uri} last {total}, it {segment.duration}")
            rule(not any(part.gap for part in segment.parts) or segment.gap, "4.4.4.7", f"{segment.uri} has gaps and is none")
        check_least(playlist, segment.parts, is_whole=True)
    if playlist.open:
        check_least(playlist, playlist.open.parts, is_whole=False)
    # §6.2.2 (SHOULD): no parts further from the end than three target durations.
    from_end = sum(part.duration for part in playlist.open.parts) if playlist.open else 0.0
    for segment in reversed(playlist.segments):
        rule(not segment.parts or from_end <= 3 * target + ROUNDING, "6.2.2", f"parts of {segment.uri} are listed {from_end} s from the end")
        from_end += segment.duration
    has_listed = False
    for segment in playlist.segments:
        has_listed = has_listed or bool(segment.parts)
        rule(bool(segment.parts) or not has_listed, "6.2.2", "parts have been removed out of order")


def check_least(playlist: MediaPlaylist, parts: list[Part], is_whole: bool) -> None:
    least = 0.85 * (playlist.part_target or 0)
    for index, part in enumerate(parts):
        is_last = is_whole and index == len(parts) - 1
        before_gap = index + 1 < len(parts) and parts[index + 1].gap
        exempt = is_last or part.gap or before_gap or part.independent
        rule(exempt or part.duration + ROUNDING >= least, "4.4.4.9", f"{part.uri} lasts {part.duration} < {least}")


def check_dates(playlist: MediaPlaylist) -> None:
    rows = playlist.segments + ([playlist.open] if playlist.open else [])
    if any(row.date for row in rows):
        rule(all(row.date for row in rows if row.discontinuity), "6.2.1", "a discontinuity without its date (SHOULD)")
        rule(rows[0].date is not None, "B.1", "the first segment has no date")
    for row, following in zip(rows, rows[1:]):
        if row.date and following.date:
            end = row.date + timedelta(seconds=row.duration)
            overlap = (end - following.date).total_seconds()
            rule(overlap < min(1.0, row.duration) + 0.002, "6.2.1", f"dates of segment {following.number} are ambiguous by {overlap} s")


def successor(before: MediaPlaylist, after: MediaPlaylist) -> None:
    """Checks what may change from one version of a playlist to a later one (§6.2.1, §6.2.2)."""
    rule(not before.skipped and not after.skipped, "-", "whole playlists are compared")
    rule(after.target == before.target, "6.2.1", "the target duration has changed")
    rule(after.part_target == before.part_target and after.control == before.control, "6.2.1", "the server's numbers have changed")
    rule(after.sequence >= before.sequence, "6.2.2", "the media sequence number has gone back")
    rule(after.discontinuity_sequence >= before.discontinuity_sequence, "6.2.2", "the discontinuity sequence number has gone back")
    rule(not before.ended or after.segments == before.segments and after.ended, "6.2.1", "an ended playlist has changed")
    removed = after.sequence - before.sequence
    kept = before.segments[removed:]
    rule(len(after.segments) >= len(kept), "6.2.2", "segments have left at the end")
    for old, new in zip(kept, after.segments):
        same = (old.number, old.discontinuity_number, old.uri, old.duration, old.discontinuity, old.gap, old.map, old.date)
        now = (new.number, new.discontinuity_number, new.uri, new.duration, new.discontinuity, new.gap, new.map, new.date)
        rule(same == now, "6.2.1", f"segment {old.number} has changed: {same} {now}")
        rule(not new.parts or new.parts == old.parts, "6.2.1", f"parts of segment {old.number} have changed")
    if before.open:
        grown = next((row for row in [*after.segments, after.open] if row and row.number == before.open.number), None)
        if grown and (grown.parts or grown is after.open):
            rule(grown.parts[: len(before.open.parts)] == before.open.parts, "6.2.1", "parts of the open segment have changed")
    if removed and not after.ended:
        rule(after.duration + ROUNDING * 10 >= 3 * after.target, "6.2.2", f"a segment was removed although only {after.duration} s are left")


def delta(full: MediaPlaylist, update: MediaPlaylist) -> None:
    """Checks a Playlist Delta Update against the whole playlist of the same moment (§6.2.5.1)."""
    if not update.skipped:
        rule(update.segments == full.segments and update.open == full.open, "6.2.5.1", "an update that skips nothing is the playlist")
        return
    until = float(full.control["CAN-SKIP-UNTIL"])
    rule(update.sequence == full.sequence and update.discontinuity_sequence == full.discontinuity_sequence, "6.2.5.1", "numbers differ")
    left = sum(segment.duration for segment in full.segments[update.skipped:])
    rule(left + ROUNDING * 10 >= until, "4.4.5.2", f"{left} s are left, the skip boundary is {until}")
    rows = zip(full.segments[update.skipped:], update.segments, strict=True)
    for whole, part in rows:
        rule((whole.number, whole.uri, whole.duration, whole.parts, whole.discontinuity, whole.gap, whole.date)
             == (part.number, part.uri, part.duration, part.parts, part.discontinuity, part.gap, part.date), "6.2.5.1",
             f"segment {whole.number} differs")
    rule((full.open and full.open.parts) == (update.open and update.open.parts) and full.hint == update.hint, "6.2.5.1", "the live edge differs")


def multivariant(data: bytes) -> tuple[list[tuple[dict[str, str], str]], list[dict[str, str]]]:
    """Reads a multivariant playlist: variants with their URIs, and sound renditions."""
    lines = lines_of(data)
    variants: list[tuple[dict[str, str], str]] = []
    renditions: list[dict[str, str]] = []
    pending: dict[str, str] | None = None
    for line in lines:
        name, value = split(line)
        if not line.startswith("#"):
            rule(pending is not None, "4.4.6.2", f"{line} without STREAM-INF")
            variants.append((pending or {}, line))
            pending = None
        else:
            rule(pending is None, "4.4.6.2", "STREAM-INF without its URI")
            rule(name not in KNOWN - {"VERSION", "INDEPENDENT-SEGMENTS", "START"}, "4.1", f"{name} in a multivariant playlist")
            if name == "STREAM-INF":
                pending = attributes(value)
            elif name == "MEDIA":
                renditions.append(attributes(value))
    rule(bool(variants) and pending is None, "4.4.6.2", "no variant")
    groups: dict[str, list[dict[str, str]]] = {}
    for row in renditions:
        rule(row.get("TYPE") == "AUDIO", "4.4.6.1", "TYPE")
        group, _ = quoted(row.get("GROUP-ID"), "4.4.6.1", "GROUP-ID"), quoted(row.get("NAME"), "4.4.6.1", "NAME")
        rule(row.get("DEFAULT") != "YES" or row.get("AUTOSELECT", "YES") == "YES", "4.4.6.1", "DEFAULT without AUTOSELECT")
        groups.setdefault(group, []).append(row)
    for rows in groups.values():
        rule(len({row["NAME"] for row in rows}) == len(rows), "4.4.6.1.1", "two renditions of a name")
        rule(sum(row.get("DEFAULT") == "YES" for row in rows) <= 1, "4.4.6.1.1", "two defaults")
    for row, _ in variants:
        peak = integer(row.get("BANDWIDTH"), "4.4.6.2", "BANDWIDTH")
        rule(peak > 0, "4.4.6.2", "BANDWIDTH 0")
        if "AVERAGE-BANDWIDTH" in row:
            rule(integer(row["AVERAGE-BANDWIDTH"], "4.4.6.2", "AVERAGE-BANDWIDTH") <= peak, "4.4.6.2", "an average above the peak")
        rule(bool(quoted(row.get("CODECS"), "4.4.6.2", "CODECS")), "4.4.6.2", "no CODECS (SHOULD)")
        rule(re.fullmatch(r"\d+x\d+", row.get("RESOLUTION", "1x1")) is not None, "4.4.6.2", "RESOLUTION")
        rule(re.fullmatch(r"\d+\.\d{3}", row.get("FRAME-RATE", "1.000")) is not None, "4.4.6.2", "FRAME-RATE")
        if "AUDIO" in row:
            rule(quoted(row["AUDIO"], "4.4.6.2", "AUDIO") in groups, "4.4.6.2", "AUDIO names no group")
    return variants, renditions


def presentation(playlists: list[MediaPlaylist]) -> None:
    """Checks renditions of one presentation, taken at about one moment, against each other (§6.2.4)."""
    first = playlists[0]
    for other in playlists[1:]:
        rule(other.target == first.target, "6.2.4", "target durations differ")
        rule(other.control == first.control, "6.2.4", "SERVER-CONTROL differs")
        dates = {row.number: (row.discontinuity_number, row.date) for row in first.segments}
        for row in other.segments:
            rule(dates.get(row.number, (row.discontinuity_number, row.date)) == (row.discontinuity_number, row.date), "6.2.4",
                 f"segment {row.number} has another date or discontinuity number in another rendition")


def main() -> None:
    before: MediaPlaylist | None = None
    count = 0
    for name in sys.argv[1:]:
        path = Path(name)
        try:
            playlist = media(path.read_bytes())
            if before:
                successor(before, playlist)
            before = playlist
            update = Path(name.replace(".full.", ".delta."))
            if update != path and update.exists():
                delta(playlist, media(update.read_bytes()))
        except Broken as error:
            sys.exit(f"{name}: {error}")
        count += 1
    print(f"{count} playlists keep the rules")


if __name__ == "__main__":
    main()
