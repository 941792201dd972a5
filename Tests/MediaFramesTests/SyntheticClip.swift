import MediaFormats
import MediaFrames
import Wire

func hex(_ text: String) -> [UInt8] {
    let digits = Array(text.utf8).map { UInt8(String(UnicodeScalar($0)), radix: 16)! }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// Frames whose headers are real (libx264, libx265, libvpx, SVT-AV1; 322×182) and whose bodies are random bytes without
/// zeros, so that no start code comes about.
struct SyntheticClip {
    static let size = VideoSize(width: 322, height: 182)
    static let h264SPS = hex("6742c00bd901519e226c044000000300400000030283c50a92")
    static let h264PPS = hex("68cb83cb20")
    static let h265VPS = hex("40010c01ffff01600000030090000003000003003c959809")
    static let h265SPS = hex("42010101600000030090000003000003003ca00a480b9c9596566924caf016808000000300800000030284")
    static let h265PPS = hex("4401c172b46240")
    static let av1Sequence = hex("0a0b000000043d06d4fbf90040")

    let codec: Codec
    var frames: [(data: [UInt8], isKey: Bool)] = []

    static func parameterSets(_ codec: Codec) -> [[UInt8]] {
        switch codec {
        case .h264: [h264SPS, h264PPS]
        case .h265: [h265VPS, h265SPS, h265PPS]
        case .av1: [av1Sequence]
        default: []
        }
    }

    /// - Parameter sizes: bytes of a frame's random body.
    init(
        _ codec: Codec, frames count: Int, keyEvery: Int = 10, sizes: ClosedRange<Int> = 20...6_000, seed: UInt64 = 1
    ) {
        self.codec = codec
        var random = SeededRandom(seed: seed)
        for index in 0..<count {
            let isKey = !codec.isVideo || index % keyEvery == 0
            let body = (0..<Int.random(in: sizes, using: &random)).map { _ in UInt8.random(in: 1...255, using: &random)
            }
            frames.append((Self.frame(codec, isKey: isKey, body: body), isKey))
        }
    }

    static func frame(_ codec: Codec, isKey: Bool, body: [UInt8]) -> [UInt8] {
        switch codec {
        case .vp8: return (isKey ? hex("f067009d012a4201b600") : hex("f16700")) + body
        case .vp9: return (isKey ? hex("824983420014100b56") : [0x86]) + body
        case .h264: return annexB((isKey ? [h264SPS, h264PPS] : []) + [(isKey ? [0x65, 0x88] : [0x41, 0x9a]) + body])
        case .h265:
            let slice: [UInt8] = isKey ? [0x26, 0x01, 0xaf] : [0x02, 0x01, 0xd0]
            return annexB((isKey ? [h265VPS, h265SPS, h265PPS] : []) + [slice + body])
        case .av1: return (isKey ? av1Sequence : []) + obu(6, [isKey ? 0x10 : 0x30] + body)
        // 20 ms of CELT, full band, one frame.
        case .opus: return [0xfc] + body
        case .pcmu, .pcma, .g722, .aac: return body
        }
    }

    static func annexB(_ units: [[UInt8]]) -> [UInt8] { units.flatMap { [0, 0, 0, 1] + $0 } }

    /// With a size field.
    static func obu(_ type: UInt8, _ payload: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = [type << 3 | 0x02]
        var rest = payload.count
        repeat {
            bytes.append(UInt8(rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
            rest >>= 7
        } while rest > 0
        return bytes + payload
    }

    /// The clip's packets, frame by frame at the codec's usual pace, as they are sent.
    func packets(
        track: Int = 0, firstNumber: Int64 = 65_530, firstTimestamp: UInt32 = .max - 9_000, from: Instant = .zero
    ) -> [(packet: MediaPacket, payload: [UInt8])] {
        var packetiser = Packetiser(codec: codec, pictureID: 0x7ffe)
        var number = firstNumber
        var all: [(MediaPacket, [UInt8])] = []
        let interval: Interval = codec.isVideo ? .microseconds(33_333) : .milliseconds(20)
        for (index, frame) in frames.enumerated() {
            let time = interval * Int64(index)
            let ticks = UInt32(truncatingIfNeeded: time.nanoseconds / 1_000 * Int64(codec.clockRate) / 1_000_000)
            let payloads = packetiser.payloads(of: frame.data, isKeyFrame: frame.isKey)
            for (place, payload) in payloads.enumerated() {
                let packet = MediaPacket(
                    track: track, number: number, timestamp: firstTimestamp &+ ticks,
                    marker: codec.isVideo && place == payloads.count - 1,
                    arrival: from + time + .microseconds(Int64(place) * 200))
                all.append((packet, payload))
                number += 1
            }
        }
        return all
    }
}

extension StreamAssembler {
    mutating func handle(_ packet: MediaPacket, _ payload: [UInt8]) { handle(packet, payload: payload.span.bytes) }

    mutating func drain() -> [MediaFrame] {
        var frames: [MediaFrame] = []
        while let frame = poll() { frames.append(frame) }
        return frames
    }

    /// Gives the packets and takes all frames, those of the end too.
    mutating func run(_ packets: [(packet: MediaPacket, payload: [UInt8])]) -> [MediaFrame] {
        var frames: [MediaFrame] = []
        for (packet, payload) in packets {
            handle(packet, payload)
            frames += drain()
        }
        finish()
        return frames + drain()
    }
}

/// Whether the frames hold the same bytes. A failed comparison of arrays would print megabytes.
func same(_ frames: [MediaFrame], _ clip: SyntheticClip) -> Bool {
    frames.count == clip.frames.count
        && zip(frames, clip.frames).allSatisfy { $0.data == $1.data && $0.isKeyFrame == $1.isKey }
}
