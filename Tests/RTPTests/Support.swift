import RTP
import Wire

// `#expect` takes no spans, so the tests go through functions of arrays.

func hex(_ text: String) -> [UInt8] {
    let digits = text.filter { !$0.isWhitespace }
    return stride(from: 0, to: digits.count, by: 2).compactMap { i in
        let a = digits.index(digits.startIndex, offsetBy: i)
        return UInt8(digits[a..<digits.index(a, offsetBy: 2)], radix: 16)
    }
}

func header(_ bytes: [UInt8]) throws(WireError) -> RTPHeader { try RTPHeader(parsing: bytes.span.bytes) }

/// Value of an extension element; `nil` if it is not found.
func element(_ id: UInt8, _ bytes: [UInt8]) throws -> [UInt8]? {
    let span = bytes.span.bytes
    let header = try RTPHeader(parsing: span)
    guard let (offset, length) = RTPExtensions.find(id: id, in: span, header: header) else { return nil }
    return Array(bytes[offset..<(offset + length)])
}

func parse(_ bytes: [UInt8]) throws(WireError) -> [RTCPPacket] {
    var out: [RTCPPacket] = []
    try RTCP.parse(bytes.span.bytes) { out.append($0) }
    return out
}

func isRTCP(_ bytes: [UInt8]) -> Bool { RTCP.isRTCP(bytes.span.bytes) }

extension Instant {
    static func ms(_ milliseconds: Int64) -> Instant { .zero + .milliseconds(milliseconds) }
    static func us(_ microseconds: Int64) -> Instant { .zero + .microseconds(microseconds) }
}

extension TransportFeedbackRecorder {
    /// All that is due, each call as a datagram of its own; the limit on calls only guards against a loop.
    mutating func drain() throws -> [TransportFeedback] {
        var out: [TransportFeedback] = []
        for _ in 0..<1000 {
            var bytes: [UInt8] = []
            guard makeFeedback(senderSSRC: 1, mediaSSRC: 2, into: &bytes) else { break }
            precondition(bytes.count <= Self.maxLength && bytes.count % 4 == 0)
            for packet in try parse(bytes) {
                if case .transportFeedback(let feedback) = packet { out.append(feedback) }
            }
        }
        return out
    }
}
