"""Offers in the shape of WHIP publishers that Debian 12 does not have, filled in from the offer of a real webrtcbin.

The programs themselves were not run. The shapes are written after their public sources:
- OBS Studio 30: obsproject/obs-studio plugins/obs-webrtc/whip-output.cpp (payload types 111 and 96, mids "0" and "1",
  sendonly, one SSRC a track, no header extension, an RtcpNackResponder that answers NACK on the media SSRC) and the
  writer below it, paullouisageneau/libdatachannel src/description.cpp (BUNDLE and LS groups, rtcp-fb nack, nack pli,
  goog-remb; no rtx) with the default formats of its include/rtc/description.hpp. OBS 30.1 writes setup, the ICE
  credentials and the fingerprint once for the session; so does the offer recorded in kevmo314/tinywhip issue 2.
- whipclientsink: gst-plugins-rs net/webrtc/src/whip_signaller/imp.rs posts the local description of a webrtcbin as it
  is; net/webrtchttp/src/whipsink/imp.rs sets bundle-policy max-bundle. So its shape is that of GStreamer itself, here
  without what do-retransmission and congestion control would add.
- bare: neither BUNDLE nor mid, two transports. Older GStreamer pipelines and hardware encoders offer this.

Only the standard library: this runs in the virtual environment of the tests and in Debian's python3 (gst_peer.py).
"""

import re

OPUS_FORMAT = "minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1"
H264_FORMAT = "profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1"
OBS_CNAME, OBS_STREAM = "Yuu1KDxQcc3L5CpY", "XmQSKutZo7zYcEQl"
SHAPES = ("obs", "whipclientsink", "bare")


def value_of(lines: list[str], name: str) -> str:
    """The value of the first attribute of that name."""
    return next(line.partition(":")[2] for line in lines if line.startswith(f"a={name}:"))


def sections_of(sdp: str) -> list[list[str]]:
    """The lines of the session, then those of every media section."""
    out: list[list[str]] = [[]]
    for line in sdp.splitlines():
        if line.startswith("m="):
            out.append([])
        if line:
            out[-1].append(line)
    return out


def join(sections: list[list[str]]) -> str:
    return "\r\n".join(line for section in sections for line in section) + "\r\n"


def obs_offer(local: str) -> str:
    """What OBS 30.1 posts, with the addresses, credentials, fingerprint and SSRCs of `local` (audio, then video)."""
    _, audio, video = sections_of(local)
    candidates = [line for line in audio if line.startswith("a=candidate:") and " UDP " in line.upper()]
    _, _, _, _, address, port = candidates[0].split(" ")[:6]
    family = "IP6" if ":" in address else "IP4"
    session = [
        "v=0", "o=rtc 3877212184 0 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1", "a=group:LS 0 1",
        "a=msid-semantic:WMS *", "a=setup:actpass", f"a=ice-ufrag:{value_of(audio, 'ice-ufrag')}",
        f"a=ice-pwd:{value_of(audio, 'ice-pwd')}", "a=ice-options:ice2,trickle",
        f"a=fingerprint:{value_of(audio, 'fingerprint')}",
    ]

    def track(kind: str, mid: int, payload: int, source: list[str], formats: list[str]) -> list[str]:
        ssrc, label = value_of(source, "ssrc").split(" ")[0], f"{OBS_STREAM} {OBS_STREAM}-{kind}"
        return [
            f"m={kind} {port} UDP/TLS/RTP/SAVPF {payload}", f"c=IN {family} {address}", f"a=mid:{mid}", "a=sendonly",
            f"a=ssrc:{ssrc} cname:{OBS_CNAME}", f"a=ssrc:{ssrc} msid:{label}", f"a=msid:{label}", "a=rtcp-mux",
        ] + formats

    return join([
        session,
        track("audio", 0, 111, audio, ["a=rtpmap:111 opus/48000/2", f"a=fmtp:111 {OPUS_FORMAT}"])
        + candidates + ["a=end-of-candidates"],
        track("video", 1, 96, video, [
            "a=rtpmap:96 H264/90000", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli", "a=rtcp-fb:96 goog-remb",
            f"a=fmtp:96 {H264_FORMAT}",
        ]),
    ])


def without(sdp: str, *patterns: str) -> str:
    """The description without the lines that start with one of the regular expressions."""
    return join([[line for line in section if not any(re.match(p, line) for p in patterns)]
                 for section in sections_of(sdp)])


def shaped(local: str, shape: str) -> str:
    """The offer to post instead of `local`."""
    if shape == "obs":
        return obs_offer(local)
    plain = without(local, r"a=rtcp-fb:\d+ transport-cc", r"a=extmap:")
    return plain if shape == "whipclientsink" else without(plain, "a=mid:", "a=group:", "a=msid", "a=bundle-only")


def with_mids_of(answer: str, local: str) -> str:
    """The answer to a shaped offer as the peer that made `local` must read it: with its own mids in place.

    An answer without mid gets them, too: webrtcbin refuses it otherwise.
    """
    own = [value_of(section, "mid") for section in sections_of(local)[1:]]
    session, *media = sections_of(answer)
    session = ["a=group:BUNDLE " + " ".join(own) if line.startswith("a=group:BUNDLE") else line for line in session]
    media = [[section[0], f"a=mid:{mid}", *(line for line in section[1:] if not line.startswith("a=mid:"))]
             for section, mid in zip(media, own)]
    return join([session, *media])
