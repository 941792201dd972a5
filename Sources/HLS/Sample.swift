import MediaFormats
import Wire

/// One frame with its place on the output's time line, which runs on over discontinuities.
package struct Sample: Sendable, Equatable {
    /// As in `MediaFrame`: Annex B for H264 and H265.
    package var data: [UInt8]
    /// When it is shown.
    package var time: Interval
    /// When it is decoded; differs only where pictures come out of order.
    package var decodeTime: Interval
    /// Until the next one of its track is decoded.
    package var duration: Interval
    package var isKeyFrame: Bool

    package init(
        data: [UInt8], time: Interval, decodeTime: Interval? = nil, duration: Interval, isKeyFrame: Bool = true
    ) {
        self.data = data
        self.time = time
        self.decodeTime = decodeTime ?? time
        self.duration = duration
        self.isKeyFrame = isKeyFrame
    }

    package var end: Interval { decodeTime + duration }
}

/// A track of a rendition as its container describes it.
package struct OutputTrack: Sendable, Hashable {
    package var configuration: CodecConfiguration
    /// Video: as decoded.
    package var size: VideoSize?
    package var rotation: VideoRotation

    package init(configuration: CodecConfiguration, size: VideoSize? = nil, rotation: VideoRotation = .none) {
        self.configuration = configuration
        self.size = size
        self.rotation = rotation
    }

    package var isVideo: Bool {
        switch configuration {
        case .h264, .h265, .vp9, .av1: true
        case .opus, .aac: false
        }
    }

    /// Ticks per second of its times: the codec's own clock, so that a frame of sound is a whole number of ticks.
    package var timescale: UInt32 {
        switch configuration {
        case .h264, .h265, .vp9, .av1: 90_000
        case .opus: 48_000
        case .aac(_, let rate, _): UInt32(clamping: max(1, rate))
        }
    }

    /// Turned as its viewer sees it.
    package var displaySize: VideoSize? {
        guard let size else { return nil }
        return rotation.isSideways ? VideoSize(width: size.height, height: size.width) : size
    }
}

/// Puts samples of a rendition into a container. Not shared between threads.
package protocol RenditionWriter {
    /// Ending of the segments' names.
    var isTransportStream: Bool { get }

    /// The tracks from now on, at the start and after each discontinuity.
    ///
    /// - Returns: the initialisation section; nil where the container has none.
    mutating func begin(_ tracks: [OutputTrack]) -> [UInt8]?

    /// One part. Parts of a segment, one after the other, are the segment.
    ///
    /// - Parameters:
    ///   - samples: for each track of `begin`, in decoding order; may be empty.
    ///   - isFirst: it begins a segment.
    mutating func part(_ samples: [[Sample]], isFirst: Bool) -> [UInt8]
}
