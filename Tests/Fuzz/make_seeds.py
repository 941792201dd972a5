#!/usr/bin/env python3
"""Writes the seed corpora Tests/Fuzz/*/Corpus: small inputs of each kind, from which libFuzzer starts.

    Tests/Fuzz/make_seeds.py TRACES

TRACES is the directory of recorded Web SDK messages (`reference/websdk-traces`). The seeds are committed; run this
only to change them. The first byte of some inputs chooses how the target reads the rest; see each Fuzz*.swift.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# RFC 5769 section 2.1: request with USERNAME "evtj:h6vY", MESSAGE-INTEGRITY and FINGERPRINT.
RFC5769_REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008"
    "932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004"
    "e57a3bcf")
# RFC 5769 section 2.2: IPv4 response.
RFC5769_RESPONSE_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a64300080014"
    "2b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96")
# RFC 5769 section 2.3: IPv6 response.
RFC5769_RESPONSE_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179"
    "bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c")

# Codec.allCases of MediaFormats, then the two readers of parameter sets.
CODECS = ["vp8", "vp9", "h264", "h265", "av1", "opus", "pcmu", "pcma", "g722", "aac", "sps", "sprop"]
# 320x240 constrained baseline, 1280x720 high with VUI (x264), and the picture parameter set of the latter.
SPS_BASELINE = bytes.fromhex("6742e00df40a0fc8")
SPS_HIGH = bytes.fromhex("6764001facd9405005bb011000000300100000030320f183196000")
PPS = bytes.fromhex("68ebecb22c")
# 416x240 main profile.
H265_VPS = bytes.fromhex("40010c01ffff016000000300900000030000030078959809")
H265_SPS = bytes.fromhex("420101016000000300900000030000030078a00d020f2e5924caec04040000030004000003006420")


def write(target: str, seeds: dict[str, bytes]) -> None:
    """Replaces the corpus of one target."""
    corpus = HERE / target / "Corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for old in corpus.iterdir():
        old.unlink()
    for name, data in seeds.items():
        (corpus / name).write_bytes(data)


# STUN -----------------------------------------------------------------------------------------------------------------

def attribute(kind: int, value: bytes) -> bytes:
    """One STUN attribute, padded to four bytes (RFC 8489 section 14)."""
    return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


def stun(kind: int, *attributes: bytes) -> bytes:
    """A STUN message; the target's mode 1 adds MESSAGE-INTEGRITY and FINGERPRINT."""
    body = b"".join(attributes)
    return struct.pack(">HHI", kind, len(body), 0x2112A442) + bytes(range(12)) + body


def stun_seeds() -> dict[str, bytes]:
    plain, signed, stream = b"\0", b"\1", b"\2"
    user = attribute(0x0006, b"weir:peer")
    priority = attribute(0x0024, struct.pack(">I", 0x6E0001FF))
    controlling = attribute(0x802A, bytes(range(8)))
    controlled = attribute(0x8029, bytes(range(8)))
    nominate = attribute(0x0025, b"")
    check = stun(1, user, priority, controlling, nominate)
    framed = b"".join(struct.pack(">H", len(p)) + p for p in (check, RFC5769_REQUEST, b"\x80" * 12))
    return {
        "rfc5769-request": plain + RFC5769_REQUEST,
        "rfc5769-response-ipv4": plain + RFC5769_RESPONSE_IPV4,
        "rfc5769-response-ipv6": plain + RFC5769_RESPONSE_IPV6,
        "check-nominating": signed + check,
        "check-plain": signed + stun(1, user, priority, controlling),
        "check-controlled": signed + stun(1, user, priority, controlled),
        "check-unknown-user": signed + stun(1, attribute(0x0006, b"other:peer"), priority),
        "check-without-user": signed + stun(1, priority),
        "check-unknown-attribute": signed + stun(1, user, attribute(0x7FFF, b"abc"), priority),
        "indication": signed + stun(0x0011),
        "error-reply": plain + stun(0x0111, attribute(0x0009, b"\0\0\4\1Unauthorized")),
        "lying-length": plain + stun(1, user)[:-3],
        "stream": stream + b"\7" + framed,
        "stream-empty-frames": stream + b"\0" + bytes(8) + framed,
        "stream-long-frame": stream + b"\xff" + b"\xff\xff" + bytes(64),
    }


# DTLS -----------------------------------------------------------------------------------------------------------------

def record(kind: int, epoch: int, sequence: int, fragment: bytes, version: int = 0xFEFD) -> bytes:
    """One DTLS record (RFC 6347 section 4.1)."""
    return struct.pack(">BHQH", kind, version, epoch << 48 | sequence, len(fragment)) + fragment


def plaintext(kind: int, sequence: int, content: bytes) -> bytes:
    """What the target's mode 1 protects."""
    return bytes([kind, sequence, len(content)]) + content


def dtls_seeds() -> dict[str, bytes]:
    finished = bytes.fromhex("1400000c0004000000" "00000c") + bytes(12)
    ciphers = {"gcm128": b"\0", "gcm256": b"\1", "chacha": b"\2"}
    flight = record(22, 0, 3, bytes(40)) + record(20, 0, 4, b"\1") + record(22, 1, 0, bytes(48))
    seeds = {f"flight-{name}": b"\0" + cipher + flight for name, cipher in ciphers.items()}
    seeds |= {
        f"close-{name}": b"\1" + cipher + plaintext(21, 1, b"\1\0") for name, cipher in ciphers.items()
    }
    return seeds | {
        "alert-short": b"\0\0" + record(21, 1, 1, bytes(8)),
        "alert-plain": b"\0\0" + record(21, 0, 1, b"\1\0"),
        "lying-length": b"\0\0" + record(21, 1, 1, bytes(26))[:-3],
        "old-version": b"\0\0" + record(21, 1, 1, bytes(26), version=0xFEFF),
        "finished": b"\1\0" + plaintext(22, 1, finished) + plaintext(22, 1, finished),
        "fatal": b"\1\0" + plaintext(21, 9, b"\1\x64") + plaintext(23, 10, b"data") + plaintext(21, 11, b"\2\x28"),
        "window": b"\2\0" + bytes([0, 0x81, 0x81, 1, 2, 3, 63, 64, 0xC0, 0xFF, 0x7F, 1, 1, 0x80]),
    }


# RTP and RTCP ---------------------------------------------------------------------------------------------------------

def rtp(sequence: int, timestamp: int, payload: bytes = b"media", *, extension: bytes = b"", marker: bool = False,
        padding: int = 0, csrc: int = 0, payload_type: int = 96) -> bytes:
    """One RTP packet (RFC 3550 section 5.1); `extension` is the whole block with its four bytes of head."""
    first = 0x80 | (0x20 if padding else 0) | (0x10 if extension else 0) | csrc
    head = struct.pack(">BBHII", first, (0x80 if marker else 0) | payload_type, sequence, timestamp, 0x1234)
    tail = bytes(padding - 1) + bytes([padding]) if padding else b""
    return head + bytes(range(4 * csrc)) + extension + payload + tail


def packets(*datagrams: bytes) -> bytes:
    """The input form of the RTP target: two bytes of length before each."""
    return b"".join(struct.pack(">H", len(d)) + d for d in datagrams)


def rtp_seeds() -> dict[str, bytes]:
    one_byte = bytes.fromhex("bede0003" "22000001" "3101" "4030" "5100" "0000")
    two_byte = bytes.fromhex("10000003" "02030a0b0c" "0401ff" "00000000")
    extended = rtp(7, 9000, extension=one_byte, marker=True)
    gap = [rtp(n, n * 3000) for n in (1, 2, 5, 6, 4, 40, 300, 301)] + [rtp(302, 906_000, marker=True)]
    return {
        "plain": packets(rtp(1, 3000)),
        "extensions-one-byte": packets(extended),
        "extensions-two-byte": packets(rtp(8, 9000, extension=two_byte)),
        "padding-csrc": packets(rtp(9, 9000, padding=4, csrc=2)),
        "only-padding": packets(rtp(10, 9000, b"", padding=255)),
        "gaps": packets(*gap),
        "roll-over": packets(*[rtp(n & 0xFFFF, n * 160) for n in range(65_530, 65_546)], rtp(20, 0, marker=True)),
        "jump": packets(rtp(1, 1), rtp(20_000, 2), rtp(20_001, 3), rtp(20_002, 4, marker=True)),
        "reordered": packets(*[rtp(n, n * 90, marker=n == 1) for n in (9, 7, 8, 5, 3, 6, 4, 2, 1)]),
        "lying-lengths": packets(extended[:15], rtp(3, 0, extension=b"\xbe\xde\xff\xff"), b"\x8f\x60\0\1"),
    }


def rtcp(count: int, kind: int, body: bytes) -> bytes:
    """One RTCP packet (RFC 3550 section 6.4.1)."""
    return struct.pack(">BBH", 0x80 | count, kind, len(body) // 4) + body


def rtcp_seeds() -> dict[str, bytes]:
    ssrc, media = struct.pack(">I", 0x1234), struct.pack(">I", 0x5678)
    block = struct.pack(">IIIIII", 0x5678, 0x10000003, 70_000, 12, 0x11112222, 0x100)
    sender = rtcp(0, 200, ssrc + struct.pack(">QIII", 0xE0000000_80000000, 90_000, 100, 100_000))
    receiver = rtcp(1, 201, ssrc + block)
    sdes = rtcp(1, 202, ssrc + b"\1\4name\0\0")
    bye = rtcp(1, 203, ssrc)
    nack = rtcp(1, 205, ssrc + media + struct.pack(">HHHH", 100, 0x8001, 65_530, 0xFFFF))
    pli = rtcp(1, 206, ssrc + media)
    fir = rtcp(4, 206, ssrc + bytes(4) + media + b"\5\0\0\0")
    remb = rtcp(15, 206, ssrc + bytes(4) + b"REMB" + b"\1\x0b\xe8\xf0" + media)
    run = struct.pack(">HHI", 10, 6, 0x00010200) + struct.pack(">HH", 0x2003, 0xD4C0) + bytes(range(1, 9))
    feedback = rtcp(15, 205, ssrc + media + run + bytes(-len(run) % 4))
    vector = struct.pack(">HHIH", 1, 7, 0x00000103, 0xD2A4) + b"\4\x80\0\4\4\2" + bytes(2)
    feedback_vector = rtcp(15, 205, ssrc + media + vector + bytes(-len(vector) % 4))
    xr = rtcp(0, 207, ssrc + b"\4\0\0\2" + struct.pack(">Q", 0xE0000000_80000000))
    names = {
        "sr": sender, "rr": receiver, "sdes": sdes, "bye": bye, "nack": nack, "pli": pli, "fir": fir, "remb": remb,
        "transport-cc-runs": feedback, "transport-cc-vector": feedback_vector, "xr": xr,
        "app": rtcp(0, 204, ssrc + b"name"),
    }
    seeds = {name: receiver + packet for name, packet in names.items()}
    return seeds | {
        "compound": sender + sdes + nack + pli + remb,
        "reduced-size": nack,
        "bye-with-reason": rtcp(1, 203, ssrc + b"\3end"),
        "sr-31-blocks": rtcp(31, 201, ssrc + block * 31),
        "padded": struct.pack(">BBH", 0xA0, 201, 2) + ssrc + b"\0\0\0\4",
        "lying-length": struct.pack(">BBH", 0x81, 201, 0xFFFF) + ssrc + block,
    }


# Codecs ---------------------------------------------------------------------------------------------------------------

def codec_seeds() -> dict[str, bytes]:
    vp8_key = bytes.fromhex("504701009d012a4001f0003900")
    vp9_key = bytes.fromhex("498342000013f00ef0")
    stap = b"\x78" + b"".join(struct.pack(">H", len(n)) + n for n in (SPS_HIGH, PPS, b"\x65\x88\x84\x21"))
    h265_aggregate = b"\x60\x01" + b"".join(struct.pack(">H", len(n)) + n for n in (H265_VPS, H265_SPS))
    av1_sequence = bytes.fromhex("0a0b00000004 3cffbc02f9a0".replace(" ", ""))
    sprop = ",".join(base64.b64encode(n).decode() for n in (SPS_BASELINE, PPS)).encode()
    payloads = {
        "vp8": {
            "key": b"\x10" + vp8_key,
            "key-descriptor": b"\x90\xe0\x81\x23\x05\x61" + vp8_key,
            "delta": b"\x90\x80\x12\x31\x02\x03",
            "continuation": b"\x80\x80\x12rest",
            "only-descriptor": b"\x90\x80\x12",
        },
        "vp9": {
            "key": b"\x88\x12" + vp9_key,
            "key-structure": b"\x8a\x81\x23\x18\x01\x40\x00\xf0\x01\x04" + vp9_key,
            "flexible": b"\xf8\x81\x23\x02\x03\x05\x04" + b"delta",
            "layers": b"\xa8\x12\x22\x01" + vp9_key,
        },
        "h264": {
            "sps": SPS_BASELINE, "sps-high": SPS_HIGH, "idr": b"\x65\x88\x80\x10", "slice": b"\x41\x9a\x20",
            "stap-a": stap, "fu-a-first": b"\x7c\x85\x88\x80\x10", "fu-a-middle": b"\x7c\x05more",
            "stap-lying": b"\x78\xff\xff\x67", "stap-empty": b"\x78",
        },
        "h265": {
            "sps": H265_SPS, "aggregate": h265_aggregate, "idr": b"\x26\x01\xaf\x09", "slice": b"\x02\x01\xd0\x09",
            "fragment": b"\x62\x01\x93\xaf\x09", "paci": b"\x64\x01\x00\x00",
        },
        "av1": {
            "sequence": b"\x08" + bytes([len(av1_sequence)]) + av1_sequence + b"\x32\x02\x10\x00",
            "one-element": b"\x18" + av1_sequence, "continuation": b"\x90frame", "delta": b"\x10\x32\x10",
        },
        "opus": {"toc": b"\x78\x01\x02"}, "pcmu": {"silence": b"\xff" * 8}, "pcma": {"silence": b"\xd5" * 8},
        "g722": {"bytes": b"\xfa" * 8}, "aac": {"unit": b"\x00\x10\x00\x20\xde\x02\x00\x4c"},
        "sps": {"baseline": SPS_BASELINE, "high": SPS_HIGH},
        "sprop": {"two-sets": sprop, "unpadded": sprop.replace(b"=", b"")},
    }
    return {
        f"{codec}-{name}": bytes([CODECS.index(codec)]) + payload
        for codec, named in payloads.items() for name, payload in named.items()
    }


# Frames: a codec, then packets, see FuzzFrames.swift ------------------------------------------------------------------

FRAME_CODECS = CODECS[:10]
MARKER, NEXT, NO_PAYLOAD = 0x80, 5, 255


def frame_packet(payload: bytes, step: int = NEXT, ticks: int = 33, marker: bool = True) -> bytes:
    """A packet `step - 4` numbers behind the one before."""
    return bytes([len(payload), step | (MARKER if marker else 0), ticks]) + payload


def frame_seeds() -> dict[str, bytes]:
    """Streams of the payloads of the Codecs target: in order, reordered, with a gap that runs out."""
    seeds = {}
    for codec in FRAME_CODECS:
        payloads = [s[1:] for n, s in codec_seeds().items() if n.startswith(codec + "-")]
        head = bytes([FRAME_CODECS.index(codec)])
        in_order = b"".join(frame_packet(p) for p in payloads)
        swapped = b"".join(frame_packet(p, step) for p, step in zip(payloads * 2, [NEXT, 6, 3, 6] * 4))
        gap = b"".join(frame_packet(p, 7) for p in payloads) + bytes([NO_PAYLOAD, 1, 0]) + in_order
        calls = bytes([NO_PAYLOAD, 2, 7]) + in_order + bytes([NO_PAYLOAD, 0, 0, NO_PAYLOAD, 3, 9]) + in_order
        parts = b"".join(frame_packet(p, ticks=0, marker=False) for p in payloads) + frame_packet(b"", ticks=0)
        for name, body in [("order", in_order), ("swapped", swapped), ("gap", gap), ("calls", calls), ("parts", parts)]:
            seeds[f"{codec}-{name}"] = head + body
    return seeds


# Intake: a codec and the way, then packets, see FuzzIntake.swift --------------------------------------------------------

DATAGRAMS, ANEW, LATER = 0x80, 0x8000, 0x4000


def intake_packet(payload: bytes, flags: int = 0, step: int = 1, marker: bool = True) -> bytes:
    head = struct.pack(">BBBBII", 0x80, 0x80 if marker else 0, step, 0, 1, 0)
    return struct.pack(">H", flags | len(head) + len(payload)) + head + payload


def intake_seeds() -> dict[str, bytes]:
    """Payloads of the Codecs target, as they are and too long for a packet: in a connection, by datagrams with gaps."""
    seeds = {}
    for codec in FRAME_CODECS:
        payloads = [s[1:] for n, s in codec_seeds().items() if n.startswith(codec + "-")]
        long = [p + bytes(range(1, 200)) for p in payloads]
        index = FRAME_CODECS.index(codec)
        connection = b"".join(map(intake_packet, payloads + long))
        anew = connection + b"".join(intake_packet(p, ANEW) for p in long[:2])
        gaps = b"".join(intake_packet(p, LATER if n % 3 else 0, n % 4) for n, p in enumerate(payloads + long))
        parts = b"".join(intake_packet(p, marker=False) for p in long)
        for name, way, body in [("connection", 0, connection), ("anew", 0, anew), ("gaps", DATAGRAMS, gaps),
                                ("parts", 0, parts)]:
            seeds[f"{codec}-{name}"] = bytes([index | way]) + body
    return seeds


# SDP and WCS ----------------------------------------------------------------------------------------------------------

OFFERS = ["publish-default", "publish-h264-only", "publish-audio-only", "publish-options", "play-default",
          "play-vp8-only", "play-audio-only", "whip", "whep"]
SHORT_SDP = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
REFUSED_MIX = """v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=fingerprint:SHA-256 {fingerprint}
m=audio 0 RTP/AVP 0
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP6 ::
a=mid:data
m=video 9 UDP/TLS/RTP/SAVPF 100 101 102
a=setup:active
a=rtcp-mux
a=extmap:2/sendonly urn:3gpp:video-orientation
a=candidate:1 1 udp 2130706431 fd00::1 5000 typ host
a=candidate:2 1 udp 2130706431 0a1b2c3d.local 5000 typ host
a=candidate:3 1 tcp 1518214911 192.0.2.2 9 typ host tcptype active
a=candidate:4 2 udp 2130706431 192.0.2.2 5001 typ srflx raddr 0.0.0.0 rport 0
a=rtpmap:100 H264/90000
a=rtcp-fb:* nack
a=rtpmap:101 rtx/90000
a=fmtp:101 apt=99
a=rtpmap:102 VP8/90000
a=ssrc-group:FID 1 2
a=ssrc:1 cname:x
a=ssrc:2 cname:x
"""


def trace(traces: Path, name: str) -> list[dict]:
    """The recorded rows of one situation."""
    return json.loads((traces / f"{name}.json").read_text())


def offers_of(rows: list[dict]) -> list[str]:
    """The offers among the rows, in order."""
    found = [row["post"]["body"] for row in rows if "post" in row]
    for row in rows:
        found += [item["sdp"] for item in row.get("send", {}).get("data", []) if item and item.get("sdp")]
    return found


def sdp_seeds(traces: Path) -> dict[str, bytes]:
    seeds = {name: bytes([n]) + offers_of(trace(traces, name))[0].encode() for n, name in enumerate(OFFERS)}
    fingerprint = ":".join(f"{n:02X}" for n in range(32))
    seeds["refused-mix"] = b"\0" + REFUSED_MIX.format(fingerprint=fingerprint).encode()
    seeds["without-sections"] = b"\0" + SHORT_SDP.encode()
    return seeds


def wcs_seeds(traces: Path) -> dict[str, bytes]:
    seeds: dict[str, bytes] = {}
    for path in sorted(traces.glob("*.json")):
        for row in trace(traces, path.stem):
            message = row.get("send")
            if not message:
                continue
            for item in message["data"]:
                if isinstance(item, dict) and item.get("sdp"):
                    item["sdp"] = SHORT_SDP
            text = json.dumps(message, separators=(",", ":")).encode()
            key = f"{message['message']}-{'.'.join(sorted(k for i in message['data'] if i for k in i))}"
            seeds.setdefault(key, text)
    seeds = {f"{key.split('-')[0]}-{n}": text for n, (key, text) in enumerate(seeds.items())}
    return seeds | {
        "nested": b'{"message":"sendData","data":[' + b'[{"a":' * 12 + b"1" + b"}]" * 12 + b"]}",
        "escapes": rb'{"message":"\u0070ing","data":["\ud83d\ude00\n\"\\\/\u0000",1.5e-3,-0,true,false,null]}',
        "numbers": b'{"message":"x","data":[1e400,-1e-400,9223372036854775808,0.1,1E+2]}',
        "bad-surrogate": rb'{"message":"\ud83d","data":[]}',
    }


# Redaction ------------------------------------------------------------------------------------------------------------

def redaction_seeds() -> dict[str, bytes]:
    """Text of clients with secrets in it."""
    return {
        "sdp": b"v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789\r\na=fingerprint:sha-256 AA:BB\r\na=setup:passive\r\n",
        "json": rb'{"authToken":"abc\"def","sipPassword": "x", "sdp":"a=ice-pwd:xyz\r\na=mid:0\r\n"}',
        "nested": rb'"{\"access_token\":\"a\\\"b\",\"c\":1}"',
        "headers": b"Authorization: Bearer abc.def\r\nCookie: a=b; c=d\nX-Api-Key=k",
        "url": b"rtsp://user:pass@host/live?token=abc&x=1",
        "jwt": b"got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln end",
        "plain": "Grüße, nothing to hide: {'a': 1}".encode(),
    }


# Hooks ----------------------------------------------------------------------------------------------------------------

def hook_seeds() -> dict[str, bytes]:
    """Answers of backends; the first byte chooses the status (see FuzzHooks.swift)."""
    config = {"publishStream": {"restOnError": "FAIL", "restPolicy": "OVERWRITE", "restOverwrite": "name,custom"},
              "OnDataEvent": {"restExclude": "sdp"}, "sendData": {"clientExclude": ["a", "b"], "restOnError": "log"}}
    objects = {
        "config": {"restClientConfig": config, "custom": {"user": "ann"}, "sipLogin": "1000", "appKey": "evil"},
        "bad-word": {"restClientConfig": {"playStream": {"restOnError": "FIAL"}}},
        "bad-config": {"restClientConfig": [1]},
        "overwrite": {"name": "real", "sdp": "v=0", "record": "true", "width": "640", "height": -1, "bitrate": 1e300,
                      "quality": 7.5, "custom": [1, {"a": None}], "rtmpUrl": "", "mediaSessionId": "evil"},
        "echo": {"nodeId": "n", "sessionId": "s", "appKey": "a", "status": "PENDING", "authToken": "t", "custom": None},
    }
    seeds = {name: b"\0" + json.dumps(value).encode() for name, value in objects.items()}
    return seeds | {
        "empty": b"\0 \r\n", "array": b"\0[]", "html": b"\0<html>It works!</html>",
        "reason": b'\x04{"status":402,"reason":"Pay first\\u0007"}', "no-reason": b'\x04{"status":402,"reason":""}',
        "refused": b"\x04Forbidden",
    }


# RTSP -----------------------------------------------------------------------------------------------------------------

def rtsp_seeds() -> dict[str, bytes]:
    """Conversations of clients and cameras; the first byte chooses who speaks (see FuzzRTSP.swift)."""
    def message(first: str, *fields: str, body: str = "") -> bytes:
        length = [f"Content-Length: {len(body)}"] if body else []
        return "\r\n".join([first, *fields, *length, "", body]).encode()

    tcp = "Transport: RTP/AVP/TCP;unicast;interleaved={}-{}{}"
    video = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=" \
        "Z00AKY2NQDwBE/LCAAAOEAACvyAI,aO44gA==\r\na=control:streamid=0\r\n"
    aac = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/44100/2\r\na=fmtp:97 mode=AAC-hbr;sizelength=13;" \
        "indexlength=3;indexdeltalength=3;config=1210\r\na=control:streamid=1\r\n"
    head = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\na=control:*\r\na=range:npt=now-\r\n"
    sdp = head + video + aac
    play = b"".join([
        message("OPTIONS rtsp://s/cam RTSP/1.0", "CSeq: 1"),
        message("DESCRIBE rtsp://s/cam?token=a RTSP/1.0", "CSeq: 2", "Accept: application/sdp"),
        message("SETUP rtsp://s/cam/trackID=0 RTSP/1.0", "CSeq: 3", tcp.format(0, 1, "")),
        message("SETUP rtsp://s/cam/trackID=1 RTSP/1.0", "CSeq: 4", tcp.format(2, 3, ""), "Session: 12345678"),
        message("PLAY rtsp://s/cam RTSP/1.0", "CSeq: 5", "Session: 12345678", "Range: npt=0.000-"),
        b"$\x01\x00\x08" + bytes(8),
        message("PAUSE rtsp://s/cam RTSP/1.0", "CSeq: 6", "Session: 12345678"),
        message("GET_PARAMETER rtsp://s/cam RTSP/1.0", "CSeq: 7", "Session: 12345678"),
        message("TEARDOWN rtsp://s/cam RTSP/1.0", "CSeq: 8", "Session: 12345678"),
    ])
    udp = b"".join([
        message("SETUP rtsp://s/cam/trackID=0 RTSP/1.0", "CSeq: 1", "Transport: RTP/AVP;multicast, RTP/AVP;unicast;"
                "client_port=5000-5001;destination=192.0.2.7"),
        message("SETUP rtsp://s/cam/trackID=1 RTSP/2.0", "CSeq: 2", "Session: 12345678",
                'Transport: RTP/AVP;unicast;dest_addr=":5002"/":5003"'),
        message("PLAY rtsp://s/cam RTSP/2.0", "CSeq: 3", "Session: 12345678"),
    ])
    publish = b"".join([
        message("ANNOUNCE rtsp://s/live RTSP/1.0", "CSeq: 1", "Content-Type: application/sdp", body=sdp),
        message("SETUP rtsp://s/live/streamid=0 RTSP/1.0", "CSeq: 2", tcp.format(0, 1, ";mode=record")),
        message("SETUP rtsp://s/live/streamid=1 RTSP/1.0", "CSeq: 3", "Session: 12345678", tcp.format(2, 3, ";mode=record")),
        message("RECORD rtsp://s/live RTSP/1.0", "CSeq: 4", "Session: 12345678", "Range: npt=0.000-"),
        b"$\x00\x00\x0c" + bytes([0x80, 96]) + bytes(10),
    ])
    camera = b"".join([
        message("RTSP/1.0 200 OK", "CSeq: 1", "Public: DESCRIBE, GET_PARAMETER"),
        message("RTSP/1.0 401 Unauthorized", "CSeq: 2", 'WWW-Authenticate: Digest realm="a", nonce="b", qop="auth"'),
        message("RTSP/1.0 200 OK", "CSeq: 3", "Content-Base: rtsp://cam.example.com/live/", body=sdp),
        message("RTSP/1.0 200 OK", "CSeq: 4", tcp.format(0, 1, ""), "Session: 1;timeout=30"),
        message("RTSP/1.0 200 OK", "CSeq: 5", tcp.format(2, 3, ""), "Session: 1"),
        message("RTSP/1.0 200 OK", "CSeq: 6", "RTP-Info: url=streamid=0;seq=1;rtptime=2,url=streamid=1;seq=3"),
        b"$\x00\x00\x0c" + bytes([0x80, 96]) + bytes(10),
        message("OPTIONS * RTSP/1.0", "CSeq: 1"),
    ])
    moved = message("RTSP/1.0 302 Moved", "Location: rtsp://cam2.example.com/live") * 4
    headers = "\n".join([
        "RTP/AVP;unicast;client_port=1-2;ssrc=ABCD;mode=\"PLAY\",RTP/SAVP/UDP;multicast;ttl=3;port=5-6", "npt=1:02:03.5-now",
        "clock=19961108T143720.25Z-", "smpte=10:00-", 'url="rtsp://a/b" ssrc=0A13:seq=1;rtptime=2,url=c;seq=3', "a;timeout=60",
        'Digest username="a", realm="b", nonce="c", uri="d", response="e", qop=auth, nc=00000001, cnonce="f"',
        'Basic realm="x, y", Digest realm="z", nonce="1", algorithm=SHA-256', "Basic YTpi", "rtsp://a:b%40@[::1]:8554/c?d/trackID=1",
        "10.0.0.0/8",
    ]).encode()
    return {
        "play": b"\x02" + play, "play-in-bytes": b"\x00" + play, "play-some-refused": b"\x62" + play, "play-login": b"\x1a" + play,
        "play-udp": b"\x02" + udp, "publish": b"\x03" + publish, "camera": b"\xfc" + camera, "moved": b"\xfc" + moved,
        "description": b"\x06" + sdp.encode(), "headers": b"\x07" + headers,
    }


# HLS ------------------------------------------------------------------------------------------------------------------

def hls_seeds() -> dict[str, bytes]:
    """Paths, queries, heads, parameter sets and frames; the first byte chooses (see FuzzHLS.swift)."""
    paths = ["/cam/cam.m3u8", "/a%20b/main/live.m3u8", "/c/main/init-1-a9.mp4", "/c/audio-opus/17-q0.m4s", "/c/main/17.3-q0.ts",
             "/%2e%2e/index.m3u8", "/a%2fb/a%2fb.m3u8"]
    queries = ["_HLS_msn=1&_HLS_part=2&_HLS_skip=YES", "token=a&_HLS_msn=18446744073709551615", "_HLS_part=1"]
    heads = ["GET /cam/main/live.m3u8?_HLS_msn=1&_HLS_part=2 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\n\r\n",
             'HEAD /cam/main/1.0-t.m4s HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nIf-Range: "x"\r\nOrigin: http://a\r\n'
             "Connection: keep-alive\r\nContent-Length: 0\r\n\r\nGET"]
    sps = bytes.fromhex("6764000dacb202833f3e0220000003002000000781e28549")
    pps = bytes.fromhex("68ebc3cb22c0")
    hevc = [bytes.fromhex(text) for text in (
        "40010c01ffff01600000030090000003000003003c959809",
        "42010101600000030090000003000003003ca00a080b9f796566924caf016808000003000800000300f040", "4401c172b46240")]

    def sets(codec: int, *parts: bytes) -> bytes:
        return bytes([2, codec]) + b"".join(bytes([len(part)]) + part for part in parts)

    picture, key, sound = bytes([0, 2, 1, 2]), bytes([10, 2, 3, 4]), bytes([1, 1, 5, 6])
    return {f"path-{index}": b"\0" + text.encode() for index, text in enumerate(paths)} | {
        f"query-{index}": b"\1" + text.encode() for index, text in enumerate(queries)} | {
        f"head-{index}": b"\4" + text.encode() for index, text in enumerate(heads)} | {
        # By the places of the codecs in `Codec`: 1 VP9, 2 H264, 3 H265, 4 AV1
        "h264": sets(2, sps, pps), "h265": sets(3, *hevc), "vp9": bytes([2, 1]) + bytes.fromhex("824983420013f00b360c38241c184a00"),
        "av1": sets(4, bytes.fromhex("0a0b000000043cfeccdaf90040")),
        "frames": b"\3" + (key + (sound + picture + sound) * 40) * 4, "jump": b"\3" + key + (picture + sound) * 20 + bytes([22, 99, 0, 0]),
    }
# Tokens ---------------------------------------------------------------------------------------------------------------

def token_seeds() -> dict[str, bytes]:
    """Tokens and key sets; the first byte chooses which (see FuzzTokens.swift)."""
    rights = {"publish": ["cam", "room-*"], "play": ["*"]}
    good = {"exp": 1800003600, "nbf": 0, "iss": "me", "aud": ["weir", "x"], "sub": "ann", "weir": rights}
    number = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()
    rsa_key = {"kty": "RSA", "kid": "r", "alg": "RS256", "use": "sig", "n": number * 8, "e": "AQAB"}
    ec_key = {"kty": "EC", "kid": "e", "alg": "ES256", "crv": "P-256", "x": number, "y": number}

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    def parts(header: object, claims: object) -> bytes:
        return b"\1" + json.dumps(header).encode() + b"\0" + json.dumps(claims).encode()

    signature = base64.urlsafe_b64encode(b"signed").rstrip(b"=").decode()
    return {
        "text": f"\0{part({'alg': 'HS256'})}.{part(good)}.{signature}".encode(),
        "none": f"\0{part({'alg': 'none'})}.{part(good)}.".encode(),
        "hs256": parts({"alg": "HS256", "typ": "JWT"}, good),
        "rs256": parts({"alg": "RS256", "kid": "r"}, good | {"aud": "weir"}),
        "es256": parts({"alg": "ES256", "kid": "e", "jku": "http://x"}, good | {"exp": 1.8000036e9}),
        "crit": parts({"alg": "HS256", "crit": ["exp"]}, good),
        "text-exp": parts({"alg": "HS256"}, good | {"exp": "1800003600"}),
        "twice": b'\1{"alg":"HS256"}\0{"exp":1,"\\u0065xp":1800003600,"iss":"me","aud":"weir","weir":{"play":["*"]}}',
        "nested": parts({"alg": "HS256"}, good | {"x": [[{"a": [{"a": 1}]}]]}),
        "keys": b"\2" + json.dumps({"keys": [rsa_key, ec_key]}).encode(),
        "skipped": b"\2" + json.dumps({"keys": [
            ec_key, rsa_key | {"use": "enc"}, rsa_key | {"kid": "p", "alg": "PS256"},
            rsa_key | {"kid": "s", "key_ops": ["sign"]}]}).encode(),
        "secret": b"\2" + json.dumps({"keys": [{"kty": "oct", "kid": "s", "alg": "HS256", "k": "AA"}]}).encode(),
    }
# REST -----------------------------------------------------------------------------------------------------------------

def rest_seeds() -> dict[str, bytes]:
    """Bodies of the REST API; the first byte chooses the parameters (see FuzzREST.swift)."""
    application = {"appKey": "shop", "name": "Shop", "url": "https://h.example/w/", "methods": ["connect", "sendData"],
                   "restUsername": "u", "restPassword": "p", "defaultRestClientConfig": {"playStream": {"restOnError": "FAIL"}}}
    objects = {
        "find": (2, {"name": "cam", "published": True, "width": 640, "ids": ["a", "b"], "offset": 1, "size": 2}),
        "lenient": (2, {"name": 7, "published": "true", "width": "640", "ids": "a", "config": None, "offset": "3"}),
        "payload": (2, {"payload": {"a": [1.0, None, "\u0000"]}, "config": {}}),
        "wrong": (2, {"width": -1}), "unknown": (0, {"nme": 1}), "open": (1, {"clientVersion": "2.0", "n": 1e3}),
        "application": (1, application),
        "signed": (1, {"appKey": "a", "url": "/apps/EchoApp", "methods": "all", "secretKey": "s"}),
    }
    seeds = {name: bytes([first]) + json.dumps(value).encode() for name, (first, value) in objects.items()}
    return seeds | {"empty": b"\2", "blank": b"\2 \r\n", "array": b"\2[]", "twice": b'\2{"name":"a","name":"b"}'}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    traces = Path(sys.argv[1])
    write("STUN", stun_seeds())
    write("DTLS", dtls_seeds())
    write("RTP", rtp_seeds())
    write("RTCP", rtcp_seeds())
    write("Codecs", codec_seeds())
    write("Frames", frame_seeds())
    write("Intake", intake_seeds())
    write("SDP", sdp_seeds(traces))
    write("WCS", wcs_seeds(traces))
    write("Hooks", hook_seeds())
    write("RTSP", rtsp_seeds())
    write("HLS", hls_seeds())
    write("REST", rest_seeds())
    write("Redaction", redaction_seeds())
    write("Tokens", token_seeds())


if __name__ == "__main__":
    main()
