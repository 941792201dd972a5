import MediaFormats
import MediaFrames
import Wire

/// Input: one byte that names the codec and the way, then packets: two bytes (length, 14 bits; a new connection; waits that
/// run out), the packet. Sequence number and time of each packet are made to go on, so that most are heard.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 0 else { return 0 }
    let input = UnsafeRawBufferPointer(start: data, count: count)
    let codec = Codec.allCases[Int(input[0] & 0x7f) % Codec.allCases.count]
    let track = TrackDescription(codec: codec, payloadType: 96)
    var settings = input[0] & 0x80 == 0 ? IntakeSettings.connection : IntakeSettings()
    settings.maxWaitingPackets = 16
    settings.maxPayload = 100
    var intake = TrackIntake(track, settings: settings)
    var assembler = StreamAssembler(tracks: [track])
    var last: Int64 = -1
    var now = Instant.zero
    var sequence: UInt16 = 0xfff0
    var at = 1

    func take(_ output: TrackIntake.Output, _ payload: RawSpan) {
        precondition(output.number > last, "numbers rise")
        precondition(payload.byteCount > 0 && payload.byteCount <= 100, "payload size")
        last = output.number
        assembler.handle(
            MediaPacket(
                track: 0, number: output.number, timestamp: output.timestamp, marker: output.marker,
                arrival: output.arrival), payload: payload)
        while let frame = assembler.poll() { precondition(!frame.data.isEmpty, "a frame without data") }
    }

    while at + 2 <= count {
        let head = Int(input[at]) << 8 | Int(input[at + 1])
        at += 2
        now = now + .milliseconds(5)
        if head & 0x8000 != 0 { intake.restart(track, to: take) }
        if head & 0x4000 != 0 { intake.advance(now: now + .seconds(1), to: take) }
        let end = min(count, at + head & 0x3fff)
        var packet = [UInt8](input[at..<end])
        at = end
        if packet.count > 12, packet[0] & 1 == 0 {
            packet[0] = 0x80
            packet[1] = packet[1] & 0x80 | 96
            sequence = sequence &+ UInt16(packet[2] & 3)
            (packet[2], packet[3]) = (UInt8(sequence >> 8), UInt8(sequence & 0xff))
            for place in [4, 5, 6, 8, 9, 10, 11] { packet[place] = 0 }
        }
        packet.withUnsafeBytes { intake.receive($0.bytes, arrival: now, to: take) }
    }
    intake.finish(to: take)
    return 0
}
