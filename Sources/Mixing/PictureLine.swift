import Foundation
import MediaFiles
import MediaFormats
import MediaFrames
import Wire

/// One track of pictures of the mix: reads and decodes as far as is needed, no further. One thread.
final class PictureLine {
    let source: MixTrack
    /// What is written on it.
    let label: String
    private let demuxer: Demuxer
    private let decoder: VideoDecoder
    private let fitter = PictureFitter()
    private var current: VideoPicture?
    private var coming: [VideoPicture] = []
    private var isAtEnd = false
    private var hasKeyFrame = false
    /// `current` ready for a place.
    private var fitted: (picture: FittedPicture, of: VideoPicture, box: VideoSize)?

    init(_ source: MixTrack, isCancelled: @escaping () -> Bool) throws(MixError) {
        self.source = source
        label = Self.plain(source.name)
        demuxer = try source.open(isCancelled)
        do throws(CodecError) {
            decoder = try VideoDecoder(source.description)
        } catch {
            throw .decoding(source.path, error)
        }
    }

    /// The picture that is on at a time of the mix, made ready; nil: none yet. Times rise from call to call.
    func picture(at time: Interval, box: VideoSize) throws(MixError) -> FittedPicture? {
        try advance(to: time)
        guard let current else { return nil }
        if let fitted, fitted.of === current, fitted.box == box { return fitted.picture }
        do throws(CodecError) {
            let made = try fitter.fit(current, into: box)
            fitted = (made, current, box)
            return made
        } catch {
            guard error.isDamagedData else { throw .decoding(source.path, error) }
            return fitted?.picture
        }
    }

    /// Decodes up to the newest picture that is due.
    func advance(to time: Interval) throws(MixError) {
        while true {
            if let next = coming.first {
                guard next.time + source.shift <= time else { return }
                current = coming.removeFirst()
            } else if isAtEnd {
                return
            } else {
                try decode()
            }
        }
    }

    private func decode() throws(MixError) {
        let frame: MediaFrame?
        do throws(ContainerError) { frame = try demuxer.next()?.frame } catch { throw .reading(source.path, error) }
        do throws(CodecError) {
            guard let frame else {
                isAtEnd = true
                coming += try decoder.finish()
                return
            }
            hasKeyFrame = hasKeyFrame || frame.isKeyFrame
            guard hasKeyFrame else { return }
            coming += try decoder.decode(frame)
        } catch {
            // A damaged picture is left out.
            guard error.isDamagedData else { throw .decoding(source.path, error) }
        }
    }

    /// Letters without accents, as far as the font has them.
    private static func plain(_ name: String) -> String {
        name.folding(options: [.diacriticInsensitive, .widthInsensitive], locale: nil)
    }
}
