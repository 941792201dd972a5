import Wire

/// Writing of RTCP packets: each function appends one packet (or as many as it takes) to a compound.
package enum RTCPWriter {
    /// Report blocks, SSRCs or chunks that five bits can count.
    private static let maxCount = 31
    /// Entries (of 17 numbers each) in one NACK packet; longer lists are split.
    private static let maxNackEntries = 255
    /// SSRCs that one REMB can count.
    private static let maxREMBSources = 255
    private static let maxMantissa: UInt64 = 0x3_ffff

    /// Blocks beyond 31 follow in receiver reports (RFC 3550 §6.1).
    package static func senderReport(_ report: SenderReport, into bytes: inout [UInt8]) {
        let count = min(report.blocks.count, maxCount)
        header(type: RTCPType.senderReport, count: count, length: 28 + ReportBlock.length * count, into: &bytes)
        bytes.appendBigEndian(report.ssrc)
        bytes.appendBigEndian(report.ntp.rawValue)
        bytes.appendBigEndian(report.rtpTimestamp)
        bytes.appendBigEndian(report.packetCount)
        bytes.appendBigEndian(report.octetCount)
        for block in report.blocks.prefix(count) { append(block, into: &bytes) }
        if report.blocks.count > count {
            receiverReport(ssrc: report.ssrc, blocks: Array(report.blocks.dropFirst(count)), into: &bytes)
        }
    }

    /// At least one packet, empty if there are no blocks; blocks beyond 31 go into further ones.
    package static func receiverReport(ssrc: UInt32, blocks: [ReportBlock], into bytes: inout [UInt8]) {
        var at = 0
        repeat {
            let count = min(blocks.count - at, maxCount)
            header(type: RTCPType.receiverReport, count: count, length: 8 + ReportBlock.length * count, into: &bytes)
            bytes.appendBigEndian(ssrc)
            for block in blocks[at..<(at + count)] { append(block, into: &bytes) }
            at += count
        } while at < blocks.count
    }

    /// One chunk with a CNAME, of which 255 bytes are kept (RFC 3550 §6.5.1).
    package static func sdesCNAME(ssrc: UInt32, cname: String, into bytes: inout [UInt8]) {
        let text = cname.utf8.prefix(255)
        // SSRC, item type, item length, text, at least one zero byte
        let chunk = (4 + 2 + text.count + 1 + 3) & ~3
        header(type: RTCPType.sdes, count: 1, length: 4 + chunk, into: &bytes)
        let end = bytes.count + chunk
        bytes.appendBigEndian(ssrc)
        bytes.append(1)
        bytes.append(UInt8(text.count))
        bytes.append(contentsOf: text)
        while bytes.count < end { bytes.append(0) }
    }

    /// SSRCs beyond 31 are left out.
    package static func bye(ssrcs: [UInt32], into bytes: inout [UInt8]) {
        let count = min(ssrcs.count, maxCount)
        header(type: RTCPType.bye, count: count, length: 4 + 4 * count, into: &bytes)
        for ssrc in ssrcs.prefix(count) { bytes.appendBigEndian(ssrc) }
    }

    /// Generic NACK (RFC 4585 §6.2.1). The list should rise (modulo 2^16); then entries are as few as can be.
    /// Nothing is written for an empty list.
    package static func nack(sender: UInt32, media: UInt32, lost: [UInt16], into bytes: inout [UInt8]) {
        var at = 0
        while at < lost.count {
            let start = bytes.count
            feedbackHeader(
                type: RTCPType.transportLayerFeedback, format: RTCPFormat.nack, length: 12, sender: sender,
                media: media, into: &bytes)
            var entries = 0
            while at < lost.count, entries < maxNackEntries {
                let first = lost[at]
                at += 1
                var mask: UInt16 = 0
                while at < lost.count {
                    let distance = lost[at] &- first
                    guard distance >= 1, distance <= 16 else { break }
                    mask |= 1 << (distance - 1)
                    at += 1
                }
                bytes.appendBigEndian(first)
                bytes.appendBigEndian(mask)
                entries += 1
            }
            bytes.storeBigEndian(UInt16(2 + entries), at: start + 2)
        }
    }

    /// Picture loss indication (RFC 4585 §6.3.1).
    package static func pli(sender: UInt32, media: UInt32, into bytes: inout [UInt8]) {
        feedbackHeader(
            type: RTCPType.payloadSpecificFeedback, format: RTCPFormat.pli, length: 12, sender: sender, media: media,
            into: &bytes)
    }

    /// Full intra request (RFC 5104 §4.3.1): the media SSRC of the header is unused and 0. Entries beyond 31 are left
    /// out; nothing is written for an empty list.
    package static func fir(
        sender: UInt32, entries: [(ssrc: UInt32, sequence: UInt8)], into bytes: inout [UInt8]
    ) {
        let entries = entries.prefix(maxCount)
        guard !entries.isEmpty else { return }
        feedbackHeader(
            type: RTCPType.payloadSpecificFeedback, format: RTCPFormat.fir, length: 12 + 8 * entries.count,
            sender: sender, media: 0, into: &bytes)
        for entry in entries {
            bytes.appendBigEndian(entry.ssrc)
            bytes.appendBigEndian(UInt32(entry.sequence) << 24)
        }
    }

    /// Receiver estimated maximum bitrate in bits per second, rounded down to 18 significant bits
    /// (draft-alvestrand-rmcat-remb-03 §2.2).
    package static func remb(sender: UInt32, bitrate: UInt64, ssrcs: [UInt32], into bytes: inout [UInt8]) {
        let ssrcs = ssrcs.prefix(maxREMBSources)
        feedbackHeader(
            type: RTCPType.payloadSpecificFeedback, format: RTCPFormat.application, length: 20 + 4 * ssrcs.count,
            sender: sender, media: 0, into: &bytes)
        bytes.appendBigEndian(RTCP.remb)
        var exponent: UInt32 = 0
        while bitrate >> UInt64(exponent) > maxMantissa { exponent += 1 }
        let mantissa = UInt32(truncatingIfNeeded: bitrate >> UInt64(exponent))
        bytes.appendBigEndian(UInt32(ssrcs.count) << 24 | exponent << 18 | mantissa)
        for ssrc in ssrcs { bytes.appendBigEndian(ssrc) }
    }

    /// `length` in bytes, with the header, a multiple of four.
    private static func header(type: UInt8, count: Int, length: Int, into bytes: inout [UInt8]) {
        bytes.append(RTCP.version << 6 | UInt8(count))
        bytes.append(type)
        bytes.appendBigEndian(UInt16(length / 4 - 1))
    }

    /// Header and the two SSRCs that all feedback begins with (RFC 4585 §6.1).
    private static func feedbackHeader(
        type: UInt8, format: UInt8, length: Int, sender: UInt32, media: UInt32, into bytes: inout [UInt8]
    ) {
        header(type: type, count: Int(format), length: length, into: &bytes)
        bytes.appendBigEndian(sender)
        bytes.appendBigEndian(media)
    }

    private static func append(_ block: ReportBlock, into bytes: inout [UInt8]) {
        bytes.appendBigEndian(block.ssrc)
        bytes.appendBigEndian(UInt32(block.fractionLost) << 24 | UInt32(bitPattern: block.cumulativeLost) & 0xff_ffff)
        bytes.appendBigEndian(block.highestSequence)
        bytes.appendBigEndian(block.jitter)
        bytes.appendBigEndian(block.lastSR)
        bytes.appendBigEndian(block.delaySinceLastSR)
    }
}
