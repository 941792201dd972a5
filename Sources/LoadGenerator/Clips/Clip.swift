import MediaFormats

/// One encoded track: a group of pictures, or a second of sound, that is sent for ever. Frame 0 is the key frame (with
/// SPS and PPS for H264). Can be decoded when looped, and when the sender jumps back to frame 0 at any time, which is
/// its answer to a PLI.
package struct Clip: Sendable {
    package let codec: Codec
    /// RTP clock, Hz.
    package let clockRate: Int
    /// RTP ticks from one frame to the next.
    package let ticksPerFrame: UInt32
    package let frames: [ClipFrame]
    /// Value of `a=fmtp` to offer, "" for none.
    package let formatParameters: String

    /// Bytes of RTP payload in one round of the clip.
    package var payloadBytes: Int { frames.reduce(0) { $0 + $1.payloadBytes } }
    /// Seconds that one round takes.
    package var seconds: Double { Double(frames.count) * Double(ticksPerFrame) / Double(clockRate) }
    /// RTP payload alone, bit/s.
    package var bitrate: Double { Double(payloadBytes * 8) / seconds }
    package var packetsPerSecond: Double { Double(frames.reduce(0) { $0 + $1.packets.count }) / seconds }
}

package struct ClipFrame: Sendable {
    /// RTP payloads of at most ``Packetiser/maxPayload`` bytes.
    package let packets: [[UInt8]]
    package let isKeyFrame: Bool
    /// In the last packet's payload: the ``FrameMark/length`` bytes that the sender overwrites with a mark without
    /// harm to decoding.
    package let markOffset: Int

    package var payloadBytes: Int { packets.reduce(0) { $0 + $1.count } }

    init(packets: [[UInt8]], isKeyFrame: Bool, codec: Codec) {
        guard let offset = FrameMark.offset(codec: codec, payloadLength: packets.last?.count ?? 0) else {
            preconditionFailure("every encoder of ours leaves room for a mark in a frame's last packet")
        }
        self.packets = packets
        self.isKeyFrame = isKeyFrame
        markOffset = offset
    }
}

package enum ClipError: Error, Equatable, CustomStringConvertible {
    /// Even numbers of 16 to 4,096 samples, 1 to 240 frames/s, 1 to 1,000 frames in a clip.
    case unsupportedFormat(String)
    /// A clip of that size and frame rate cannot have this bitrate; the nearest possible one in bit/s.
    case bitrateOutOfRange(nearest: Int)
    /// libvpx or libopus refused.
    case encoder(String)

    package var description: String {
        switch self {
        case .unsupportedFormat(let what): "cannot make a clip: \(what)"
        case .bitrateOutOfRange(let nearest): "cannot make a clip of that bitrate; the nearest is \(nearest) bit/s"
        case .encoder(let what): "encoder failed: \(what)"
        }
    }
}

/// Makes clips. The same arguments give the same clip; each takes well below a second.
package enum ClipMaker {
    /// Constrained baseline.
    ///
    /// - Parameters:
    ///   - bitrate: of the RTP payload, bit/s, averaged over one round.
    ///   - keyFrameInterval: frames in the clip.
    package static func h264(
        width: Int, height: Int, framesPerSecond: Int, bitrate: Int, keyFrameInterval: Int
    ) throws(ClipError) -> Clip {
        let format = try VideoFormat(
            width: width, height: height, framesPerSecond: framesPerSecond, bitrate: bitrate, frames: keyFrameInterval)
        let pictures = try H264ClipEncoder(format).encode()
        let frames = pictures.enumerated().map { index, units in
            ClipFrame(packets: Packetiser.h264(units), isKeyFrame: index == 0, codec: .h264)
        }
        return Clip(
            codec: .h264, clockRate: VideoFormat.clockRate, ticksPerFrame: format.ticksPerFrame, frames: frames,
            formatParameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="
                + H264ClipEncoder.profileLevelID(format))
    }

    /// By libvpx. Parameters as of ``h264(width:height:framesPerSecond:bitrate:keyFrameInterval:)``.
    package static func vp8(
        width: Int, height: Int, framesPerSecond: Int, bitrate: Int, keyFrameInterval: Int
    ) throws(ClipError) -> Clip {
        let format = try VideoFormat(
            width: width, height: height, framesPerSecond: framesPerSecond, bitrate: bitrate, frames: keyFrameInterval)
        let frames = try VP8ClipEncoder(format).encode().enumerated().map { index, frame in
            ClipFrame(packets: Packetiser.vp8(frame), isKeyFrame: index == 0, codec: .vp8)
        }
        return Clip(
            codec: .vp8, clockRate: VideoFormat.clockRate, ticksPerFrame: format.ticksPerFrame, frames: frames,
            formatParameters: "")
    }

    /// One second in frames of 20 ms, by libopus. Every frame can be the first.
    ///
    /// - Parameter bitrate: of the RTP payload, bit/s.
    package static func opus(bitrate: Int) throws(ClipError) -> Clip {
        let frames = try OpusClipEncoder(bitrate: bitrate).encode().map {
            ClipFrame(packets: [$0], isKeyFrame: true, codec: .opus)
        }
        return Clip(
            codec: .opus, clockRate: OpusClipEncoder.clockRate,
            ticksPerFrame: UInt32(OpusClipEncoder.samplesPerFrame), frames: frames,
            formatParameters: "minptime=10;useinbandfec=1")
    }
}

/// What a video clip shall be like, checked.
struct VideoFormat {
    static let clockRate = 90_000
    /// A key frame is about this many times as large as the average one of the others.
    static let keyFrameFactor = 5

    private static let sizes = 16...4096
    private static let frameRates = 1...240
    private static let lengths = 1...1000
    private static let bitrates = 1_000...1_000_000_000

    let width: Int
    let height: Int
    let framesPerSecond: Int
    let bitrate: Int
    let frames: Int

    init(width: Int, height: Int, framesPerSecond: Int, bitrate: Int, frames: Int) throws(ClipError) {
        guard Self.sizes.contains(width), Self.sizes.contains(height), width % 2 == 0, height % 2 == 0 else {
            throw .unsupportedFormat("\(width)x\(height) is not an even size within \(Self.sizes)")
        }
        guard Self.frameRates.contains(framesPerSecond), Self.clockRate % framesPerSecond == 0 else {
            throw .unsupportedFormat("\(framesPerSecond) frames/s do not divide 90 kHz")
        }
        guard Self.lengths.contains(frames) else {
            throw .unsupportedFormat("\(frames) frames are not within \(Self.lengths)")
        }
        guard Self.bitrates.contains(bitrate) else {
            throw .unsupportedFormat("\(bitrate) bit/s are not within \(Self.bitrates)")
        }
        self.width = width
        self.height = height
        self.framesPerSecond = framesPerSecond
        self.bitrate = bitrate
        self.frames = frames
    }

    var ticksPerFrame: UInt32 { UInt32(Self.clockRate / framesPerSecond) }
    /// Bytes of RTP payload in the whole clip.
    var totalBytes: Double { Double(bitrate * frames) / Double(8 * framesPerSecond) }
}
