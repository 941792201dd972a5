import MediaFormats
import MediaFrames
import RTP
import Wire

/// Input: one byte that names the codec, then packets: three bytes (length of the payload; step of the number and
/// marker; step of the timestamp), payload. A length of 255 stands for other calls: report, gap, waits that run out.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 0 else { return 0 }
    let input = UnsafeRawBufferPointer(start: data, count: count)
    let codec = Codec.allCases[Int(input[0]) % Codec.allCases.count]
    let tracks = [TrackDescription(codec: codec), TrackDescription(codec: .opus)]
    var settings = AssemblerSettings()
    settings.maxWaitingPackets = 16
    var assembler = StreamAssembler(tracks: tracks, settings: settings)
    var packetiser = Packetiser(codec: codec, limit: 100)
    var frames = 0
    var (number, timestamp, now): (Int64, UInt32, Instant) = (0, 0, .zero)
    var at = 1

    func drain() {
        while let frame = assembler.poll() {
            frames += 1
            precondition(!frame.data.isEmpty, "a frame without data")
            precondition(frame.track == 1 || frames > 0 && (frame.isKeyFrame || codec.isVideo), "sound is always key")
            if let size = frame.size { precondition(size.width > 0 && size.height > 0, "a picture without area") }
            // What has been a frame can be sent again, in payloads of bounded size.
            let payloads = packetiser.payloads(of: frame.data, isKeyFrame: frame.isKeyFrame)
            if codec.isVideo && frame.track == 0 {
                precondition(payloads.allSatisfy { $0.count <= 100 }, "payload size")
            }
        }
    }

    while at + 3 <= count {
        let (length, step, ticks) = (Int(input[at]), input[at + 1], input[at + 2])
        at += 3
        now = now + .milliseconds(Int64(ticks & 0x3f))
        if length == 255 {
            switch step & 3 {
            case 0: assembler.handleGap()
            case 1: assembler.advance(now: now + .seconds(1))
            case 2:
                let ntp = NTPTime(rawValue: UInt64(bitPattern: now.nanoseconds) &* UInt64(ticks))
                assembler.handleReport(track: Int(step >> 2 & 1), ntp: ntp, timestamp: timestamp, arrival: now)
            default: timestamp = timestamp &+ UInt32(ticks) << 24
            }
        } else {
            number += Int64(step & 0x0f) - 4
            timestamp = timestamp &+ UInt32(ticks) &* 90
            let end = min(count, at + length)
            let payload = UnsafeRawBufferPointer(rebasing: input[at..<end])
            at = end
            let packet = MediaPacket(
                track: Int(step >> 6 & 1), number: number, timestamp: timestamp, marker: step & 0x80 != 0,
                orientation: step & 0x20 != 0 ? ticks : nil, arrival: now)
            assembler.handle(packet, payload: payload.bytes)
        }
        drain()
    }
    assembler.finish()
    drain()
    precondition(assembler.nextDeadline == .distantFuture, "something still waits at the end")
    return 0
}
