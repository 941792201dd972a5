"""Encoded pictures to RTP payloads: VP8 (RFC 7741), VP9 (RFC 9628), H264 (RFC 6184), H265 (RFC 7798) and AV1 (AV1 RTP specification)."""

from __future__ import annotations

import struct

MOST_BYTES = 1_100
# OBU types (AV1 specification section 6.2.2) that no RTP packet carries.
TEMPORAL_DELIMITER, TILE_LIST, OBU_PADDING = 2, 8, 15
FU_A = 28
H265_FU = 49


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at:at + size] for at in range(0, len(data), size)]


def vp8(data: bytes, is_key: bool, picture_id: int) -> list[bytes]:
    pieces = _pieces(data, MOST_BYTES)
    identifier = struct.pack(">H", 0x8000 | picture_id & 0x7FFF)
    return [bytes([0x80 | (0x10 if i == 0 else 0), 0x80]) + identifier + piece for i, piece in enumerate(pieces)]


def vp9(data: bytes, is_key: bool, picture_id: int) -> list[bytes]:
    """Non-flexible mode, one layer."""
    pieces = _pieces(data, MOST_BYTES)
    identifier = struct.pack(">H", 0x8000 | picture_id & 0x7FFF)
    out = []
    for i, piece in enumerate(pieces):
        flags = 0x80 | (0 if is_key else 0x40) | (0x08 if i == 0 else 0) | (0x04 if i == len(pieces) - 1 else 0)
        out.append(bytes([flags]) + identifier + piece)
    return out


def _nal_units(data: bytes) -> list[bytes]:
    """`data`: units behind their lengths of four bytes, as Matroska has them."""
    out, at = [], 0
    while at + 4 <= len(data):
        length, = struct.unpack_from(">I", data, at)
        out.append(data[at + 4:at + 4 + length])
        at += 4 + length
    return out


def _edge(index: int, count: int) -> int:
    """Whether a fragment is its unit's first (S) or last (E)."""
    return (0x80 if index == 0 else 0) | (0x40 if index == count - 1 else 0)


def h264(data: bytes, is_key: bool, picture_id: int) -> list[bytes]:
    out = []
    for unit in _nal_units(data):
        if len(unit) <= MOST_BYTES:
            out.append(unit)
            continue
        pieces = _pieces(unit[1:], MOST_BYTES)
        for i, piece in enumerate(pieces):
            out.append(bytes([unit[0] & 0xE0 | FU_A, _edge(i, len(pieces)) | unit[0] & 0x1F]) + piece)
    return out


def h265(data: bytes, is_key: bool, picture_id: int) -> list[bytes]:
    out = []
    for unit in _nal_units(data):
        if len(unit) <= MOST_BYTES:
            out.append(unit)
            continue
        pieces = _pieces(unit[2:], MOST_BYTES)
        for i, piece in enumerate(pieces):
            head = bytes([unit[0] & 0x81 | H265_FU << 1, unit[1], _edge(i, len(pieces)) | unit[0] >> 1 & 0x3F])
            out.append(head + piece)
    return out


def _leb128(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _units(data: bytes) -> list[bytes]:
    """OBUs of a temporal unit without their size fields."""
    out, at = [], 0
    while at < len(data):
        header = data[at]
        head = 2 if header & 0x04 else 1
        at_size, shift, size = at + head, 0, 0
        assert header & 0x02, "an OBU without size"
        while True:
            size |= (data[at_size] & 127) << shift
            shift += 7
            at_size += 1
            if not data[at_size - 1] & 128:
                break
        if header >> 3 & 15 not in (TEMPORAL_DELIMITER, TILE_LIST, OBU_PADDING):
            out.append(bytes([header & ~0x02]) + data[at + 1:at + head] + data[at_size:at_size + size])
        at = at_size + size
    return out


def av1(data: bytes, is_key: bool, picture_id: int) -> list[bytes]:
    """Every element behind its length (W = 0); what does not fit goes on in the next packet (Z, Y)."""
    packets: list[bytearray] = []
    room = 0
    continues = False
    for unit in _units(data):
        while unit:
            if room < 8:
                if packets and continues:
                    packets[-1][0] |= 0x40
                packets.append(bytearray([0x80 if continues else 0]))
                room = MOST_BYTES
            piece, unit = unit[:room - 2], unit[room - 2:]
            packets[-1] += _leb128(len(piece)) + piece
            room -= len(piece) + 2
            continues = bool(unit)
            if continues:
                room = 0
    if is_key:
        packets[0][0] |= 0x08
    return [bytes(packet) for packet in packets]


PACKETISERS = {"VP8": vp8, "VP9": vp9, "H264": h264, "H265": h265, "AV1": av1}
