import RTP
import Wire

/// Input: one RTCP datagram. What can be read is written again and must be read as the same.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 0 else { return 0 }
    let bytes = UnsafeRawBufferPointer(start: data, count: count).bytes
    _ = RTCP.isRTCP(bytes)
    var packets: [RTCPPacket] = []
    _ = try? RTCP.parse(bytes) { packets.append($0) }
    precondition(packets.count <= RTCP.maxPackets, "bound of packets")
    for packet in packets { check(packet) }
    return 0
}

private func check(_ packet: RTCPPacket) {
    var bytes: [UInt8] = []
    switch packet {
    case .senderReport(let report):
        RTCPWriter.senderReport(report, into: &bytes)
        same(bytes) { if case .senderReport(report) = $0 { true } else { false } }
        var statistics = ReceiverStatistics()
        statistics.receive(sequence: 1, timestamp: report.rtpTimestamp, arrival: .zero, clockRate: 90_000)
        statistics.receiveSenderReport(ntp: report.ntp, arrival: .zero)
        _ = statistics.reportBlock(ssrc: report.ssrc, now: Instant(nanoseconds: report.ntp.unixNanosecondsClamped))
    case .receiverReport(let ssrc, let blocks):
        RTCPWriter.receiverReport(ssrc: ssrc, blocks: blocks, into: &bytes)
        same(bytes) { if case .receiverReport(ssrc, blocks) = $0 { true } else { false } }
    case .sdes(let chunks):
        precondition(chunks.count <= 31, "bound of chunks")
        for chunk in chunks {
            guard let cname = chunk.cname, cname.utf8.count <= 255 else { continue }
            bytes = []
            RTCPWriter.sdesCNAME(ssrc: chunk.ssrc, cname: cname, into: &bytes)
            same(bytes) { if case .sdes([chunk]) = $0 { true } else { false } }
        }
    case .bye(let sources):
        RTCPWriter.bye(ssrcs: sources, into: &bytes)
        same(bytes) { if case .bye(sources) = $0 { true } else { false } }
    case .nack(let sender, let media, let lost):
        precondition(!lost.isEmpty && lost.count <= RTCP.maxNackNumbers, "bound of NACK numbers")
        RTCPWriter.nack(sender: sender, media: media, lost: lost, into: &bytes)
        // A list that does not rise may ask twice; written again each number stands once.
        var again: Set<UInt16> = []
        read(bytes) { if case .nack(sender, media, let lost) = $0 { again.formUnion(lost) } }
        precondition(again == Set(lost), "a NACK that says something else")
    case .pli(let sender, let media):
        RTCPWriter.pli(sender: sender, media: media, into: &bytes)
        same(bytes) { if case .pli(sender, media) = $0 { true } else { false } }
    case .fir(let sender, let entries):
        let kept = entries.prefix(31)
        RTCPWriter.fir(sender: sender, entries: entries, into: &bytes)
        same(bytes) {
            guard case .fir(sender, let got) = $0 else { return false }
            return got.elementsEqual(kept) { $0 == $1 }
        }
    case .remb(let sender, let bitrate, let sources):
        RTCPWriter.remb(sender: sender, bitrate: bitrate, ssrcs: sources, into: &bytes)
        same(bytes) { if case .remb(sender, bitrate, sources) = $0 { true } else { false } }
    case .transportFeedback(let feedback):
        precondition(feedback.lostCount >= 0 && feedback.lost.count == feedback.lostCount, "losses and arrivals")
    case .xr, .other: break
    }
}

/// `bytes` is one packet, for which `test` holds.
private func same(_ bytes: [UInt8], _ test: (RTCPPacket) -> Bool) {
    var count = 0
    read(bytes) {
        count += 1
        precondition(test($0), "written and read again it is another packet: \($0)")
    }
    precondition(count == 1, "one packet became \(count)")
}

private func read(_ bytes: [UInt8], _ body: (RTCPPacket) -> Void) {
    do { try RTCP.parse(bytes.span.bytes, body) } catch { preconditionFailure("our own RTCP: \(error)") }
}

extension NTPTime {
    fileprivate var unixNanosecondsClamped: Int64 { Int64(clamping: unixNanoseconds) }
}
