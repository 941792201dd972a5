import MediaFormats
import Wire

/// How long a packet of sound lasts, from its bytes alone.
package enum AudioPackets {
    /// Samples per second of Opus' own clock, whatever the sound's band is.
    static let opusClock: Int64 = 48_000
    /// No packet lasts longer (RFC 6716 §3.2.5).
    static let maxOpusSamples: Int64 = 5_760

    /// `nil`, if the packet's bytes do not tell (AAC) or are no packet.
    package static func duration(_ track: TrackDescription, _ packet: RawSpan) -> Interval? {
        switch track.codec {
        case .opus: opusSamples(packet).map { Interval(nanoseconds: $0 * 1_000_000_000 / opusClock) }
        case .pcmu, .pcma: samples(packet.byteCount / max(1, track.channels), rate: track.clockRate)
        // Two samples a byte at 16 kHz.
        case .g722: samples(packet.byteCount * 2 / max(1, track.channels), rate: 16_000)
        case .aac: samples(1024, rate: track.clockRate)
        case .vp8, .vp9, .h264, .h265, .av1: nil
        }
    }

    private static func samples(_ count: Int, rate: Int) -> Interval? {
        guard count > 0, rate > 0 else { return nil }
        return Interval(nanoseconds: Int64(count) * 1_000_000_000 / Int64(rate))
    }

    /// Samples at 48 kHz of an Opus packet: its configuration and count of frames (RFC 6716 §3.1).
    package static func opusSamples(_ packet: RawSpan) -> Int64? {
        guard packet.byteCount > 0 else { return nil }
        let configuration = packet[0] >> 3
        let frame: Int64
        switch configuration {
        case 0..<12: frame = [480, 960, 1_920, 2_880][Int(configuration & 3)]
        case 12..<16: frame = configuration & 1 == 0 ? 480 : 960
        default: frame = 120 << Int64(configuration & 3)
        }
        let count: Int64
        switch packet[0] & 3 {
        case 0: count = 1
        case 1, 2: count = 2
        default:
            guard packet.byteCount > 1 else { return nil }
            count = Int64(packet[1] & 0x3f)
        }
        let samples = frame * count
        return samples > 0 && samples <= maxOpusSamples ? samples : nil
    }

    /// Channels that an Opus packet was coded with (RFC 6716 §3.1).
    package static func opusIsStereo(_ packet: RawSpan) -> Bool { packet.byteCount > 0 && packet[0] & 4 != 0 }
}
