"""The playlist checker itself: it takes a good playlist, and names the rule that a bad one breaks."""
import pytest

import hls_playlist as hls

HEAD = """#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.50000,HOLD-BACK=6.00000,CAN-SKIP-UNTIL=12.00000
#EXT-X-PART-INF:PART-TARGET=0.50000
#EXT-X-MEDIA-SEQUENCE:{sequence}
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-MAP:URI="init.mp4"
"""
SEGMENT = """#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:{second:02d}.000Z
{parts}#EXTINF:2.00000,
{number}.m4s
"""
EDGE = """#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:{second:02d}.000Z
#EXT-X-PART:DURATION=0.50000,URI="{number}.0.m4s",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{number}.1.m4s"
#EXT-X-RENDITION-REPORT:URI="../audio/live.m3u8",LAST-MSN={number},LAST-PART=0
"""


def playlist(first: int = 10, count: int = 8) -> str:
    text = HEAD.format(sequence=first)
    for index in range(count):
        number = first + index
        parts = "".join(f'#EXT-X-PART:DURATION=0.50000,URI="{number}.{part}.m4s"{"" if part else ",INDEPENDENT=YES"}\n'
                        for part in range(4))
        text += SEGMENT.format(number=number, second=2 * (number - 10), parts=parts if index >= count - 3 else "")
    return text + EDGE.format(number=first + count, second=2 * (first + count - 10))


def check(text: str) -> hls.MediaPlaylist:
    return hls.media(text.encode())


def test_good_playlists_pass():
    before, after = check(playlist()), check(playlist(11))
    assert len(before.segments) == 8 and before.open and before.last == (18, 0)
    assert [segment.discontinuity_number for segment in before.segments] == [3] * 8
    hls.successor(before, after)
    hls.presentation([before, before])


@pytest.mark.parametrize(("old", "new", "section"), [
    ("#EXTM3U", "#EXTM3U8", "4.4.1.1"),
    ("#EXT-X-TARGETDURATION:2\n", "", "4.4.3.1"),
    ("#EXT-X-TARGETDURATION:2\n", "#EXT-X-TARGETDURATION:1\n", "4.4.3.1"),
    ("#EXT-X-TARGETDURATION:2\n", "#EXT-X-TARGETDURATION:2\n#EXT-X-TARGETDURATION:2\n", "4.4"),
    ("HOLD-BACK=6.00000", "HOLD-BACK=5.90000", "4.4.3.8"),
    ("PART-HOLD-BACK=1.50000", "PART-HOLD-BACK=0.90000", "4.4.3.8"),
    ("PART-HOLD-BACK=1.50000,", "", "4.4.3.8"),
    ("CAN-SKIP-UNTIL=12.00000", "CAN-SKIP-UNTIL=11.00000", "4.4.3.8"),
    ("#EXT-X-PART-INF:PART-TARGET=0.50000\n", "", "4.4.3.7"),
    ("#EXT-X-VERSION:6", "#EXT-X-VERSION:3", "8"),
    ("#EXT-X-VERSION:6", "#EXT-X-VERSION:10", "6.2.1"),
    ("DURATION=0.50000,URI=\"17.1", "DURATION=0.60000,URI=\"17.1", "4.4.4.9"),
    ("DURATION=0.50000,URI=\"17.1", "DURATION=0.40000,URI=\"17.1", "4.4.4.9"),
    ("#EXT-X-PART:DURATION=0.50000,URI=\"17.3.m4s\"\n", "", "4.4.4.9"),
    ("#EXTINF:2.00000,\n12.m4s", "12.m4s", "4.4.4.1"),
    ("#EXTINF:2.00000,\n12.m4s", "#EXTINF:2.50000,\n12.m4s", "4.4.3.1"),
    ("#EXTINF:2.00000,\n12.m4s", "#EXTINF:2.00000\n12.m4s", "4.4.4.1"),
    ("2026-11-21T10:00:04.000Z", "2026-11-21 10:00:04", "4.4.4.6"),
    ("2026-11-21T10:00:04.000Z", "2026-11-21T10:00:02.000Z", "6.2.1"),
    ("#EXT-X-PRELOAD-HINT:TYPE=PART,", "#EXT-X-PRELOAD-HINT:TYPE=PARTS,", "4.4.5.3"),
    ("#EXT-X-PRELOAD-HINT", "#EXT-X-ENDLIST\n#EXT-X-PRELOAD-HINT", "4.4.5.3"),
    ("#EXT-X-PRELOAD-HINT:", "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"x\"\n#EXT-X-PRELOAD-HINT:", "6.2.6"),
    ("URI=\"../audio", "URI=\"/audio", "4.4.5.4"),
    (",LAST-MSN=18", "", "4.4.5.4"),
    ("INDEPENDENT=YES", "INDEPENDENT=NO", "4.4.4.9"),
    ("#EXT-X-MAP:URI=\"init.mp4\"\n", "#EXT-X-MAP:URI=init.mp4\n", "4.4.4.5"),
    ("#EXT-X-MAP", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MAP", "6.2.2"),
    ("#EXT-X-MAP", "#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-MAP", "4.1"),
    ("#EXTINF:2.00000,\n12.m4s", "#EXTINF:2.00000,\n12 .m4s", "4.1"),
    ("#EXT-X-MAP", "\x07#EXT-X-MAP", "4.1"),
])
def test_broken_playlists_are_named_with_their_rule(old: str, new: str, section: str):
    text = playlist()
    assert old in text
    with pytest.raises(hls.Broken, match=f"^§{section}:".replace(".", r"\.")):
        check(text.replace(old, new, 1))


@pytest.mark.parametrize(("change", "section"), [
    (lambda text: text.replace("SEQUENCE:11", "SEQUENCE:9", 1), "6.2.2"),
    (lambda text: text.replace("DISCONTINUITY-SEQUENCE:3", "DISCONTINUITY-SEQUENCE:2"), "6.2.2"),
    (lambda text: text.replace("TARGETDURATION:2", "TARGETDURATION:3").replace("HOLD-BACK=6", "HOLD-BACK=9").replace("UNTIL=12", "UNTIL=18"), "6.2.1"),
    (lambda text: text.replace("#EXTINF:2.00000,\n12.m4s", "#EXTINF:1.90000,\n12.m4s"), "6.2.1"),
    (lambda text: text.replace("13.m4s", "13-other.m4s"), "6.2.1"),
    (lambda text: text.replace("#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:08", "#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:08"), "6.2.1"),
    (lambda text: text.replace("17.2.m4s", "17.2-x.m4s"), "6.2.1"),
])
def test_forbidden_changes_are_named(change, section: str):
    with pytest.raises(hls.Broken, match=f"^§{section}:".replace(".", r"\.")):
        hls.successor(check(playlist()), check(change(playlist(11))))


def test_removing_too_much_is_named():
    with pytest.raises(hls.Broken, match=r"6\.2\.2"):
        hls.successor(check(playlist(10, 4)), check(playlist(12, 2)))


def test_delta_updates_are_held_to_the_whole():
    full = playlist()
    lines = full.split("#EXT-X-MAP:URI=\"init.mp4\"\n")
    rest = lines[1].split("10.m4s\n", 1)[1]
    update = lines[0].replace("VERSION:6", "VERSION:9") + "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n" + rest
    hls.delta(check(full), check(update))
    with pytest.raises(hls.Broken, match=r"6\.2\.5\.1"):
        hls.delta(check(full), check(update.replace("15.m4s\n", "15-x.m4s\n", 1)))
    after = rest.split("11.m4s\n", 1)[1].split("12.m4s\n", 1)[1]
    with pytest.raises(hls.Broken, match=r"4\.4\.5\.2"):
        hls.delta(check(full), check(lines[0].replace("VERSION:6", "VERSION:9") + "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n" + after))


def test_multivariant_playlists():
    good = (b'#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="opus",AUTOSELECT=YES,DEFAULT=YES,CHANNELS="2",URI="o/live.m3u8"\n'
            b'#EXT-X-STREAM-INF:BANDWIDTH=2000,AVERAGE-BANDWIDTH=1000,CODECS="avc1.64000d,opus",RESOLUTION=320x180,FRAME-RATE=30.000,AUDIO="a"\n'
            b"main/live.m3u8\n")
    variants, renditions = hls.multivariant(good)
    assert variants[0][1] == "main/live.m3u8" and len(renditions) == 1
    for old, new in [(b"BANDWIDTH=2000,", b""), (b"BANDWIDTH=2000", b"BANDWIDTH=900"), (b',AUDIO="a"', b',AUDIO="b"'), (b"320x180", b"320"),
                     (b"30.000", b"30"), (b"main/live.m3u8\n", b""), (b'NAME="opus",', b""), (b"AUTOSELECT=YES", b"AUTOSELECT=NO")]:
        assert old in good
        with pytest.raises(hls.Broken):
            hls.multivariant(good.replace(old, new, 1))
