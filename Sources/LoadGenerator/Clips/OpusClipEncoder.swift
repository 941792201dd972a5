import COpus
import Wire

/// One second of Opus, by libopus: a chord whose tones fit the second in whole periods, so that the loop cannot be
/// heard. Every frame carries padding (RFC 6716 §3.2.5) for the mark and has the same size.
struct OpusClipEncoder {
    static let clockRate = 48_000
    /// 20 ms.
    static let samplesPerFrame = 960
    private static let framesPerSecond = clockRate / samplesPerFrame
    /// Padding in a packet of code 3: the count of frames, the length of the padding, and the padding itself.
    private static let padding = FrameMark.length + 2
    /// Bytes of a packet without padding: TOC and what libopus needs for sound at all, to what one frame can have.
    private static let frameSizes = 10...1275
    private static let tones: [Double] = [220, 330, 440]
    private static let amplitude = 0.2
    /// Seconds encoded in front of the one that is kept: after them the encoder has adapted, and what it keeps of the
    /// past is the same at the second's start and end.
    private static let runUp = 1

    private let bytesPerFrame: Int

    /// - Parameter bitrate: of the RTP payload, padding included, bit/s.
    init(bitrate: Int) throws(ClipError) {
        let (lowest, highest) = (Self.frameSizes.lowerBound + Self.padding, Self.frameSizes.upperBound + Self.padding)
        let scale = 8 * Self.framesPerSecond
        guard bitrate >= lowest * scale else { throw .bitrateOutOfRange(nearest: lowest * scale) }
        guard bitrate <= highest * scale else { throw .bitrateOutOfRange(nearest: highest * scale) }
        bytesPerFrame = (bitrate + scale / 2) / scale
    }

    func encode() throws(ClipError) -> [[UInt8]] {
        var status: CInt = 0
        let new = opus_encoder_create(CInt(Self.clockRate), 1, OPUS_APPLICATION_AUDIO, &status)
        guard let encoder = new, status == OPUS_OK else { throw Self.error(status) }
        defer { opus_encoder_destroy(encoder) }
        let unpadded = bytesPerFrame - Self.padding
        for status in [
            weir_opus_set_vbr(encoder, 0),
            weir_opus_set_bitrate(encoder, opus_int32(unpadded * 8 * Self.framesPerSecond)),
        ] where status != OPUS_OK { throw Self.error(status) }

        let sound = Self.secondOfSound()
        var packets: [[UInt8]] = []
        for index in 0..<(Self.framesPerSecond * (Self.runUp + 1)) {
            var packet = [UInt8](repeating: 0, count: bytesPerFrame)
            let from = index % Self.framesPerSecond * Self.samplesPerFrame
            let length = sound.withUnsafeBufferPointer {
                opus_encode_float(
                    encoder, $0.baseAddress! + from, CInt(Self.samplesPerFrame), &packet, opus_int32(unpadded))
            }
            guard length > 0 else { throw Self.error(length) }
            let padded = opus_packet_pad(&packet, length, opus_int32(bytesPerFrame))
            guard padded == OPUS_OK else { throw Self.error(padded) }
            if index >= Self.framesPerSecond * Self.runUp { packets.append(packet) }
        }
        return packets
    }

    /// Samples within -1...1.
    private static func secondOfSound() -> [Float] {
        var sound = [Double](repeating: 0, count: clockRate)
        for tone in tones {
            // Turning a vector is as good as a sine of every sample, and needs no library of mathematics.
            let (cosine, sine) = turn(by: 2 * Double.pi * tone / Double(clockRate))
            var vector = (x: amplitude, y: 0.0)
            for index in sound.indices {
                sound[index] += vector.y
                vector = (vector.x * cosine - vector.y * sine, vector.x * sine + vector.y * cosine)
            }
        }
        return sound.map(Float.init)
    }

    /// Cosine and sine of a small angle (below 0.1 rad), by their series.
    private static func turn(by angle: Double) -> (Double, Double) {
        let square = angle * angle
        let cosine = 1 - square / 2 * (1 - square / 12 * (1 - square / 30))
        return (cosine, angle * (1 - square / 6 * (1 - square / 20 * (1 - square / 42))))
    }

    private static func error(_ status: CInt) -> ClipError {
        .encoder("libopus: \(String(cString: opus_strerror(status)))")
    }
}
