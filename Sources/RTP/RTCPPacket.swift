import Wire

/// Reception of one source as its receiver sees it (RFC 3550 §6.4.1).
package struct ReportBlock: Hashable, Sendable, BitwiseCopyable {
    static let length = 24

    package var ssrc: UInt32
    /// Part of the packets lost since the last report, in 1/256.
    package var fractionLost: UInt8
    /// Packets lost since the start, -2^23...2^23-1; negative when duplicates outweigh losses.
    package var cumulativeLost: Int32
    /// Roll-overs in the upper, sequence number in the lower 16 bits.
    package var highestSequence: UInt32
    /// Units of the RTP clock.
    package var jitter: UInt32
    /// `NTPTime.middle32` of the last sender report; 0 if none came.
    package var lastSR: UInt32
    /// 1/65536 s between the arrival of that report and this block.
    package var delaySinceLastSR: UInt32

    package init(
        ssrc: UInt32, fractionLost: UInt8 = 0, cumulativeLost: Int32 = 0, highestSequence: UInt32 = 0,
        jitter: UInt32 = 0, lastSR: UInt32 = 0, delaySinceLastSR: UInt32 = 0
    ) {
        self.ssrc = ssrc
        self.fractionLost = fractionLost
        self.cumulativeLost = cumulativeLost
        self.highestSequence = highestSequence
        self.jitter = jitter
        self.lastSR = lastSR
        self.delaySinceLastSR = delaySinceLastSR
    }
}

/// A sender report (RFC 3550 §6.4.1): one moment on the sender's wall clock and on its RTP clock.
package struct SenderReport: Hashable, Sendable {
    package var ssrc: UInt32
    package var ntp: NTPTime
    package var rtpTimestamp: UInt32
    package var packetCount: UInt32
    package var octetCount: UInt32
    package var blocks: [ReportBlock]

    package init(
        ssrc: UInt32, ntp: NTPTime, rtpTimestamp: UInt32, packetCount: UInt32, octetCount: UInt32,
        blocks: [ReportBlock]
    ) {
        self.ssrc = ssrc
        self.ntp = ntp
        self.rtpTimestamp = rtpTimestamp
        self.packetCount = packetCount
        self.octetCount = octetCount
        self.blocks = blocks
    }
}

/// One chunk of a source description (RFC 3550 §6.5), of which only the CNAME is kept.
package struct SourceDescription: Hashable, Sendable {
    package var ssrc: UInt32
    package var cname: String?

    package init(ssrc: UInt32, cname: String?) {
        self.ssrc = ssrc
        self.cname = cname
    }
}

/// One packet of a compound, read.
package enum RTCPPacket: Sendable {
    case senderReport(SenderReport)
    case receiverReport(ssrc: UInt32, blocks: [ReportBlock])
    case sdes([SourceDescription])
    case bye([UInt32])
    /// RFC 4585 §6.2.1: numbers in the order of the packet, at most `RTCP.maxNackNumbers`.
    case nack(sender: UInt32, media: UInt32, lost: [UInt16])
    /// RFC 4585 §6.3.1
    case pli(sender: UInt32, media: UInt32)
    /// RFC 5104 §4.3.1: a repeated number is a repetition of the same request.
    case fir(sender: UInt32, entries: [(ssrc: UInt32, sequence: UInt8)])
    /// draft-alvestrand-rmcat-remb-03; bits per second.
    case remb(sender: UInt32, bitrate: UInt64, ssrcs: [UInt32])
    case transportFeedback(TransportFeedback)
    /// RFC 3611; its blocks are not read.
    case xr(ssrc: UInt32)
    /// A packet type, or a kind of feedback, that is not understood.
    case other(type: UInt8)
}

/// Packet types and feedback kinds (RFC 3550 §12.1, RFC 4585 §6.1, RFC 5104 §4, RFC 3611 §2).
enum RTCPType {
    static let senderReport: UInt8 = 200
    static let receiverReport: UInt8 = 201
    static let sdes: UInt8 = 202
    static let bye: UInt8 = 203
    static let transportLayerFeedback: UInt8 = 205
    static let payloadSpecificFeedback: UInt8 = 206
    static let extendedReport: UInt8 = 207
}

enum RTCPFormat {
    /// Of transport layer feedback.
    static let nack: UInt8 = 1
    static let transportWide: UInt8 = 15
    /// Of payload-specific feedback.
    static let pli: UInt8 = 1
    static let fir: UInt8 = 4
    static let application: UInt8 = 15
}
