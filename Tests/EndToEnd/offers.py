"""SDP offers in the form the Web SDK sends them (no candidates, port 9), for tests without a media peer."""

from __future__ import annotations

FINGERPRINT = ":".join(f"{value:02X}" for value in range(0x40, 0x60))

VIDEO_FORMATS = {
    "VP8": ("96", "VP8/90000", None),
    "VP9": ("98", "VP9/90000", "profile-id=0"),
    "H264": ("108", "H264/90000", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
    "AV1": ("45", "AV1/90000", "level-idx=5;profile=0;tier=0"),
    "THEORA": ("70", "theora/90000", None),
}
AUDIO_FORMATS = {
    "opus": ("111", "opus/48000/2", "minptime=10;useinbandfec=1"),
    "SPEEX": ("71", "speex/16000", None),
}


def _section(kind: str, mid: int, formats: list[tuple], direction: str, ssrc: int | None) -> list[str]:
    lines = [
        f"m={kind} 9 UDP/TLS/RTP/SAVPF {' '.join(f[0] for f in formats)}",
        "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0",
        "a=ice-ufrag:aYnR", "a=ice-pwd:/+qgkVHjSThH4iPYGK2Sbrot", "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {FINGERPRINT}", "a=setup:actpass", f"a=mid:{mid}",
        f"a={direction}", "a=rtcp-mux", "a=rtcp-rsize",
    ]
    for payload, mapping, parameters in formats:
        lines.append(f"a=rtpmap:{payload} {mapping}")
        if kind == "video":
            lines += [f"a=rtcp-fb:{payload} nack", f"a=rtcp-fb:{payload} nack pli"]
        if parameters:
            lines.append(f"a=fmtp:{payload} {parameters}")
    if ssrc is not None:
        lines.append(f"a=ssrc:{ssrc} cname:weirtest")
    return lines


def make_offer(publish: bool, video: tuple[str, ...] = ("VP8",), audio: tuple[str, ...] = ("opus",)) -> str:
    """An offer with at most one audio and one video section. An empty tuple leaves the section out."""
    direction = "sendonly" if publish else "recvonly"
    sections: list[list[str]] = []
    if audio:
        formats = [AUDIO_FORMATS[name] for name in audio]
        sections.append(_section("audio", len(sections), formats, direction, 1111 if publish else None))
    if video:
        formats = [VIDEO_FORMATS[name] for name in video]
        sections.append(_section("video", len(sections), formats, direction, 2222 if publish else None))
    mids = " ".join(str(index) for index in range(len(sections)))
    head = ["v=0", "o=- 6229556290734405397 2 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {mids}"]
    return "\r\n".join(head + [line for section in sections for line in section]) + "\r\n"
