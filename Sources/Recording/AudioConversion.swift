import MediaFiles
import MediaFormats
import MediaFrames

/// Turns the frames of one sound track into another codec. One thread.
package protocol AudioConversion: AnyObject {
    /// Of what comes out; its track index is that of what goes in.
    var description: TrackDescription { get }
    /// Frames that are complete; their times are those of the sound in them.
    func convert(_ frame: MediaFrame) -> [MediaFrame]
    /// What is still inside.
    func finish() -> [MediaFrame]
}

/// Makes conversions; nil when it has none from this codec to that.
package typealias AudioConversionMaker = @Sendable (_ from: TrackDescription, _ to: Codec) -> (any AudioConversion)?

/// `AudioTranscoder` as a recording uses it: sound that cannot be decoded is left out and counted.
package final class TranscodedAudio: AudioConversion {
    private let transcoder: AudioTranscoder
    package private(set) var failures = 0

    package init(from input: TrackDescription, to codec: Codec) throws(CodecError) {
        transcoder = try AudioTranscoder(from: input, to: codec)
    }

    /// For `Recorder`.
    package static let maker: AudioConversionMaker = { input, codec in
        try? TranscodedAudio(from: input, to: codec)
    }

    package var description: TrackDescription { transcoder.output }

    package func convert(_ frame: MediaFrame) -> [MediaFrame] {
        do { return try transcoder.transcode(frame) } catch {
            failures += 1
            return []
        }
    }

    package func finish() -> [MediaFrame] { (try? transcoder.finish()) ?? [] }
}
