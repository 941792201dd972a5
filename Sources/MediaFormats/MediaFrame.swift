import Wire

/// One decodable unit of one track, put together from packets or read from a file.
///
/// What `data` holds, by codec:
/// - H264, H265: one access unit in Annex B form, 4-byte start codes. A key frame always begins with its parameter
///   sets, also where the publisher sent them only in its session description.
/// - AV1: the OBUs of one temporal unit, each with its size field, without temporal delimiters.
/// - VP8: one frame. VP9: one frame, or one superframe where the publisher sends several spatial layers.
/// - Opus, AAC (raw, no ADTS), PCMU, PCMA, G722: the payload of one packet.
package struct MediaFrame: Sendable, Equatable {
    package struct Flags: OptionSet, Sendable, Hashable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// The track's time has jumped before this frame (the source began anew): what was before and what follows do
        /// not belong on one smooth line, although times still rise.
        package static let discontinuity = Flags(rawValue: 1)
        /// Something before this frame is missing: packets were lost and did not come again.
        package static let afterLoss = Flags(rawValue: 2)
    }

    /// Index into the stream's track descriptions.
    package var track: Int
    package var data: [UInt8]
    /// Presentation time on the stream's one clock, the same for all its tracks. Zero is when the stream's first packet
    /// arrived, so the first frames may be slightly before zero. Rises from frame to frame of a track, except where the
    /// publisher sends pictures out of order (B frames); never waits for other tracks.
    package var time: Interval
    /// The RTP timestamp that it came with, on the track's own clock; `nil` for what did not come in packets.
    package var timestamp: UInt32?
    /// How long the frame lasts, where its bytes tell that: Opus, G.711, G.722 and AAC. Video: `nil`.
    package var duration: Interval?
    /// Can be decoded without any frame before it. Always true for sound.
    package var isKeyFrame: Bool
    /// Size as decoded (before rotation): at each key frame that tells it.
    package var size: VideoSize?
    /// How far a player must turn the picture clockwise.
    package var rotation: VideoRotation
    package var flags: Flags
    /// At the first key frame and whenever they change there: the parameter sets that `data` needs from here on, in the
    /// form of `TrackDescription.parameterSets`. `nil`: as before.
    package var parameterSets: [[UInt8]]?

    package init(
        track: Int, data: [UInt8], time: Interval, timestamp: UInt32? = nil, duration: Interval? = nil,
        isKeyFrame: Bool = true,
        size: VideoSize? = nil, rotation: VideoRotation = .none, flags: Flags = [], parameterSets: [[UInt8]]? = nil
    ) {
        self.track = track
        self.data = data
        self.time = time
        self.timestamp = timestamp
        self.duration = duration
        self.isKeyFrame = isKeyFrame
        self.size = size
        self.rotation = rotation
        self.flags = flags
        self.parameterSets = parameterSets
    }
}

/// Clockwise degrees by which a picture must be turned to be upright.
package enum VideoRotation: Int, Sendable, Hashable, CaseIterable {
    case none = 0
    case clockwise90 = 90
    case clockwise180 = 180
    case clockwise270 = 270

    /// From the coordination of video orientation (3GPP TS 26.114 §7.4.5): its two lowest bits. The bits for a
    /// mirrored picture and for the rear camera change nothing in how browsers show it.
    package init(orientation: UInt8) {
        switch orientation & 3 {
        case 1: self = .clockwise90
        case 2: self = .clockwise180
        case 3: self = .clockwise270
        default: self = .none
        }
    }

    /// Width and height change places.
    package var isSideways: Bool { self == .clockwise90 || self == .clockwise270 }
}
