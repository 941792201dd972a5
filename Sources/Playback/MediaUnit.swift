import MediaFormats
import Wire

/// A frame ready to be sent: its RTP payloads and when that is to be.
package struct MediaUnit: Sendable, Equatable {
    /// Index into the reader's tracks.
    package var track: Int
    /// On the stream's clock, which begins at about zero and goes on where a file begins anew. Rises within a track.
    package var time: Interval
    /// When it is to be sent, on the same clock. Never falls within a track.
    package var due: Interval
    /// How long it is heard or seen, as far as that is known.
    package var duration: Interval
    package var isVideo: Bool
    package var isKeyFrame: Bool
    /// Byte of the video-orientation extension.
    package var orientation: UInt8?
    /// In their order; of pictures the last one has the marker.
    package var payloads: [[UInt8]]

    package init(
        track: Int, time: Interval, due: Interval, duration: Interval = .zero, isVideo: Bool, isKeyFrame: Bool = true,
        orientation: UInt8? = nil, payloads: [[UInt8]]
    ) {
        self.track = track
        self.time = time
        self.due = due
        self.duration = duration
        self.isVideo = isVideo
        self.isKeyFrame = isKeyFrame
        self.orientation = orientation
        self.payloads = payloads
    }

    package var byteCount: Int { payloads.reduce(0) { $0 + $1.count } }
}

/// One track as it is sent.
package struct PlaybackTrack: Sendable, Equatable {
    /// `formatParameters` are those of an SDP offer.
    package var description: TrackDescription
    package var rotation = VideoRotation.none
    /// As it is in the file.
    package var source: Codec
    package var isTranscoded: Bool

    package init(
        description: TrackDescription, rotation: VideoRotation = .none, source: Codec, isTranscoded: Bool
    ) {
        self.description = description
        self.rotation = rotation
        self.source = source
        self.isTranscoded = isTranscoded
    }

    /// What to call it where its own `formatParameters` are not known: H264 of the profiles Main and High as files have
    /// them. Many players state Baseline and decode these too, as long as no pictures are out of order.
    package var lenientParameters: String? {
        guard description.codec == .h264, !isTranscoded else { return nil }
        return FormatParameters.isUsualH264(description.formatParameters) ? FormatParameters.baselineH264 : nil
    }
}

extension PlaybackTrack {
    /// `a=fmtp` of pictures as they are in a file or in another source: what a player must be able to decode.
    ///
    /// - Parameters:
    ///   - parameterSets: in the form of `TrackDescription.parameterSets`.
    ///   - keyFrame: in the form of `MediaFrame.data`; empty if none has come yet.
    package static func formatParameters(_ codec: Codec, parameterSets: [[UInt8]], keyFrame: [UInt8]) -> String {
        FormatParameters.video(codec, parameterSets: parameterSets, keyFrame: keyFrame)
    }
}
