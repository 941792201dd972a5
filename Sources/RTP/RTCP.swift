import Wire

/// Reading of RTCP: compound packets (RFC 3550 §6.1) and packets of reduced size (RFC 5506).
package enum RTCP {
    /// Packets in one compound beyond which it is malformed.
    package static let maxPackets = 64
    /// Sequence numbers taken from one NACK; the rest is left out.
    package static let maxNackNumbers = 2048
    static let headerLength = 4
    static let version: UInt8 = 2
    static let remb: UInt32 = 0x5245_4d42  // "REMB"
    private static let cnameItem: UInt8 = 1

    /// Tells RTCP from RTP on one port: packet types 192...223, which RTP leaves out (RFC 5761 §4).
    package static func isRTCP(_ packet: RawSpan) -> Bool {
        packet.byteCount >= headerLength && packet[0] >> 6 == version && packet[1] >= 192 && packet[1] <= 223
    }

    /// Calls `body` for each packet of the compound, in order. Packets before a malformed one have been handed over
    /// when the error is thrown.
    package static func parse(_ bytes: RawSpan, _ body: (RTCPPacket) -> Void) throws(WireError) {
        var at = 0
        var packets = 0
        repeat {
            let left = bytes.byteCount - at
            guard left >= headerLength else { throw .truncated(needed: headerLength, have: left) }
            let first = bytes[at]
            guard first >> 6 == version else { throw .unsupportedVersion(first >> 6) }
            let length = 4 * (Int(bytes.loadBigEndian(at: at + 2, as: UInt16.self)) + 1)
            guard length <= left else { throw .truncated(needed: length, have: left) }
            guard packets < maxPackets else { throw .malformed("too many packets in an RTCP compound") }
            packets += 1
            var used = length
            if first & 0x20 != 0 {
                // RFC 3550 wants a multiple of four and only in the last packet; transport feedback of common
                // senders keeps neither rule.
                let padding = Int(bytes[at + length - 1])
                guard padding > 0, padding <= length - headerLength else {
                    throw .malformed("RTCP padding count outside the packet")
                }
                used -= padding
            }
            body(try packet(bytes.extracting(at..<(at + used)), type: bytes[at + 1], count: first & 0x1f))
            at += length
        } while at < bytes.byteCount
    }

    /// `bytes` is one packet without its padding; `count` the five bits of the header (RC, SC or FMT).
    private static func packet(_ bytes: RawSpan, type: UInt8, count: UInt8) throws(WireError) -> RTCPPacket {
        switch type {
        case RTCPType.senderReport:
            try need(28, bytes)
            return .senderReport(
                SenderReport(
                    ssrc: bytes.loadBigEndian(at: 4), ntp: NTPTime(rawValue: bytes.loadBigEndian(at: 8)),
                    rtpTimestamp: bytes.loadBigEndian(at: 16), packetCount: bytes.loadBigEndian(at: 20),
                    octetCount: bytes.loadBigEndian(at: 24), blocks: try blocks(bytes, at: 28, count: Int(count))))
        case RTCPType.receiverReport:
            try need(8, bytes)
            return .receiverReport(
                ssrc: bytes.loadBigEndian(at: 4), blocks: try blocks(bytes, at: 8, count: Int(count)))
        case RTCPType.sdes:
            return .sdes(try descriptions(bytes, count: Int(count)))
        case RTCPType.bye:
            return .bye(try words(bytes, at: 4, count: Int(count)))
        case RTCPType.transportLayerFeedback:
            try need(12, bytes)
            switch count {
            case RTCPFormat.nack: return try nack(bytes)
            case RTCPFormat.transportWide: return .transportFeedback(try TransportFeedback(parsing: bytes))
            default: return .other(type: type)
            }
        case RTCPType.payloadSpecificFeedback:
            try need(12, bytes)
            switch count {
            case RTCPFormat.pli:
                return .pli(sender: bytes.loadBigEndian(at: 4), media: bytes.loadBigEndian(at: 8))
            case RTCPFormat.fir: return try fir(bytes)
            case RTCPFormat.application: return try application(bytes)
            default: return .other(type: type)
            }
        case RTCPType.extendedReport:
            try need(8, bytes)
            return .xr(ssrc: bytes.loadBigEndian(at: 4))
        default:
            return .other(type: type)
        }
    }

    private static func need(_ length: Int, _ bytes: RawSpan) throws(WireError) {
        guard bytes.byteCount >= length else { throw .truncated(needed: length, have: bytes.byteCount) }
    }

    private static func words(_ bytes: RawSpan, at offset: Int, count: Int) throws(WireError) -> [UInt32] {
        try need(offset + 4 * count, bytes)
        var out: [UInt32] = []
        out.reserveCapacity(count)
        for i in 0..<count { out.append(bytes.loadBigEndian(at: offset + 4 * i)) }
        return out
    }

    private static func blocks(_ bytes: RawSpan, at offset: Int, count: Int) throws(WireError) -> [ReportBlock] {
        try need(offset + ReportBlock.length * count, bytes)
        var out: [ReportBlock] = []
        out.reserveCapacity(count)
        for i in 0..<count {
            let at = offset + ReportBlock.length * i
            let lost = bytes.loadUInt24(at: at + 5)
            out.append(
                ReportBlock(
                    ssrc: bytes.loadBigEndian(at: at), fractionLost: bytes[at + 4],
                    cumulativeLost: Int32(bitPattern: lost << 8) >> 8,
                    highestSequence: bytes.loadBigEndian(at: at + 8), jitter: bytes.loadBigEndian(at: at + 12),
                    lastSR: bytes.loadBigEndian(at: at + 16), delaySinceLastSR: bytes.loadBigEndian(at: at + 20)))
        }
        return out
    }

    /// RFC 3550 §6.5: chunks of an SSRC and items, each list ended by at least one zero byte and filled to 32 bits.
    private static func descriptions(_ bytes: RawSpan, count: Int) throws(WireError) -> [SourceDescription] {
        var out: [SourceDescription] = []
        var at = headerLength
        for _ in 0..<count {
            try need(at + 4, bytes)
            var chunk = SourceDescription(ssrc: bytes.loadBigEndian(at: at), cname: nil)
            at += 4
            while true {
                try need(at + 1, bytes)
                let item = bytes[at]
                guard item != 0 else { break }
                try need(at + 2, bytes)
                let length = Int(bytes[at + 1])
                try need(at + 2 + length, bytes)
                if item == cnameItem, chunk.cname == nil {
                    let text = bytes.extracting((at + 2)..<(at + 2 + length)).copied()
                    chunk.cname = String(decoding: text, as: UTF8.self)
                }
                at += 2 + length
            }
            at = at & ~3 + 4
            out.append(chunk)
        }
        return out
    }

    private static func nack(_ bytes: RawSpan) throws(WireError) -> RTCPPacket {
        guard bytes.byteCount >= 16, bytes.byteCount & 3 == 0 else { throw .malformed("NACK without entries") }
        var lost: [UInt16] = []
        var at = 12
        while at < bytes.byteCount, lost.count + 17 <= maxNackNumbers {
            let first: UInt16 = bytes.loadBigEndian(at: at)
            var mask: UInt16 = bytes.loadBigEndian(at: at + 2)
            lost.append(first)
            while mask != 0 {
                lost.append(first &+ 1 &+ UInt16(mask.trailingZeroBitCount))
                mask &= mask &- 1
            }
            at += 4
        }
        return .nack(sender: bytes.loadBigEndian(at: 4), media: bytes.loadBigEndian(at: 8), lost: lost)
    }

    private static func fir(_ bytes: RawSpan) throws(WireError) -> RTCPPacket {
        guard bytes.byteCount >= 20, (bytes.byteCount - 12) & 7 == 0 else {
            throw .malformed("FIR entries are not of 8 bytes")
        }
        var entries: [(ssrc: UInt32, sequence: UInt8)] = []
        for at in stride(from: 12, to: bytes.byteCount, by: 8) {
            entries.append((bytes.loadBigEndian(at: at), bytes[at + 4]))
        }
        return .fir(sender: bytes.loadBigEndian(at: 4), entries: entries)
    }

    /// Application layer feedback: REMB, or not understood.
    private static func application(_ bytes: RawSpan) throws(WireError) -> RTCPPacket {
        guard bytes.byteCount >= 20, bytes.loadBigEndian(at: 12, as: UInt32.self) == remb else {
            return .other(type: RTCPType.payloadSpecificFeedback)
        }
        let exponent = UInt64(bytes[17] >> 2)
        let mantissa = UInt64(bytes.loadUInt24(at: 17) & 0x3_ffff)
        let bitrate = mantissa << exponent
        guard bitrate >> exponent == mantissa else { throw .malformed("REMB bitrate above 64 bits") }
        return .remb(
            sender: bytes.loadBigEndian(at: 4), bitrate: bitrate,
            ssrcs: try words(bytes, at: 20, count: Int(bytes[16])))
    }
}
