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
