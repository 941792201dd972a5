import RTP
import Wire

/// Input: packets, each with two bytes of length before it. Every packet is read by itself; their numbers and times run
/// through what is kept per source.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 0 else { return 0 }
    let input = UnsafeRawBufferPointer(start: data, count: count)
    var source = Source()
    var at = 0
    while at + 2 <= count {
        let length = min(Int(input[at]) << 8 | Int(input[at + 1]), count - at - 2)
        at += 2
        read(UnsafeRawBufferPointer(rebasing: input[at..<(at + length)]).bytes, &source)
        at += length
    }
    source.finish()
    return 0
}

private func read(_ packet: RawSpan, _ source: inout Source) {
    _ = RTCP.isRTCP(packet)
    guard let header = try? RTPHeader(parsing: packet) else { return }
    precondition(header.headerLength >= RTPHeader.fixedLength && header.payloadLength >= 0, "bounds of a header")
    precondition(
        header.headerLength + header.payloadLength + header.paddingLength == packet.byteCount, "parts and the whole")
    for id in UInt8.min ... .max {
        guard let (offset, length) = RTPExtensions.find(id: id, in: packet, header: header) else { continue }
        precondition(
            offset >= header.extensionOffset && offset + length <= header.extensionOffset + header.extensionLength,
            "an extension outside its block")
    }
    source.receive(header)
}

/// The state that one source costs us. Time moves by what the packet's timestamp says, so that mutations reach timeouts.
private struct Source {
    var now = Instant(nanoseconds: 1)
    var unwrapper = SequenceUnwrapper()
    var nack = NackGenerator()
    var statistics = ReceiverStatistics()
    var recorder = TransportFeedbackRecorder()

    mutating func receive(_ header: RTPHeader) {
        now = now + .microseconds(Int64(header.timestamp & 0xf_ffff))
        nack.receive(unwrapper.unwrap(header.sequence), now: now)
        statistics.receive(
            sequence: header.sequence, timestamp: header.timestamp, arrival: now,
            clockRate: Int(Int32(bitPattern: header.ssrc)))
        recorder.receive(sequence: header.sequence &+ UInt16(header.payloadType), arrival: now)
        if header.marker { finish() }
    }

    mutating func finish() {
        let due = nack.due(now: now, roundTrip: .milliseconds(20))
        precondition(due.count <= NackGenerator.maxMissing, "bound of requests")
        precondition(nack.missingCount <= NackGenerator.maxMissing, "bound of missing packets")
        _ = nack.takeNeedsKeyFrame()
        if statistics.hasReceived { _ = statistics.reportBlock(ssrc: 1, now: now) }
        var bytes: [UInt8] = []
        RTCPWriter.nack(sender: 1, media: 2, lost: due, into: &bytes)
        var asked: [UInt16] = []
        if !bytes.isEmpty { parse(bytes) { if case .nack(_, _, let lost) = $0 { asked += lost } } }
        precondition(asked == due, "a NACK that says something else")
        var told = true
        while told {
            bytes = []
            told = recorder.makeFeedback(senderSSRC: 1, mediaSSRC: 2, into: &bytes)
            precondition(bytes.count <= TransportFeedbackRecorder.maxLength, "bound of feedback")
            if told { parse(bytes) { _ in } }
        }
    }

    private func parse(_ bytes: [UInt8], _ body: (RTCPPacket) -> Void) {
        do { try RTCP.parse(bytes.span.bytes, body) } catch { preconditionFailure("our own RTCP: \(error)") }
    }
}
