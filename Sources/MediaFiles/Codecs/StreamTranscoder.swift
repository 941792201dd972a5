import MediaFormats
import Synchronization
import Wire

/// Transcodes some tracks of a stream and passes the others on, away from who has the frames (`FrameWorker`): what
/// recordings, HLS and `vod://` use for codecs that their container or player cannot take.
///
/// Frames come out in the order of their work, on the worker's thread. An error ends the track it is of, and only that.
package final class StreamTranscoder: Sendable {
    package struct Settings: Sendable {
        package var audio = AudioTranscoder.Settings()
        package var video = VideoTranscoder.Settings()
        /// That may wait. More are wanted where a stream begins with its stored pictures.
        package var maxFrames = FrameWorker.maxFrames
        package init() {}
    }

    /// The tracks as they come out.
    package let tracks: [TrackDescription]
    private let worker: FrameWorker
    private let coders: Coders
    private let output: @Sendable (MediaFrame) -> Void

    /// - Parameters:
    ///   - codecs: what becomes of the track with this index; the others stay as they are.
    ///   - failed: called once for a track that cannot go on.
    ///   - output: called for each frame.
    package init(
        tracks: [TrackDescription], to codecs: [Int: Codec], settings: Settings = Settings(),
        failed: @escaping @Sendable (Int, CodecError) -> Void,
        output: @escaping @Sendable (MediaFrame) -> Void
    ) throws(CodecError) {
        let coders = Coders()
        var described = tracks
        for (index, codec) in codecs where tracks.indices.contains(index) && tracks[index].codec != codec {
            switch codec {
            case .h264:
                let transcoder = try VideoTranscoder(from: tracks[index], settings: settings.video)
                described[index] = transcoder.output
                coders.video[index] = transcoder
            default:
                let transcoder = try AudioTranscoder(from: tracks[index], to: codec, settings: settings.audio)
                described[index] = transcoder.output
                coders.audio[index] = transcoder
            }
        }
        self.tracks = described
        self.coders = coders
        self.output = output
        worker = FrameWorker(label: "weir.transcoder", tracks: tracks, maxFrames: settings.maxFrames) { frame in
            coders.work(frame, failed, output)
        }
    }

    /// Takes a frame; never waits.
    ///
    /// - Returns: false, if it was dropped because the transcoder does not keep up.
    @discardableResult
    package func add(_ frame: MediaFrame) -> Bool { worker.add(frame) }

    package var dropped: Int64 { worker.dropped }

    /// Frames were dropped, and video cannot go on without a key frame.
    package var wantsKeyFrame: Bool { worker.wantsKeyFrame }

    /// Makes the next picture of each transcoded track a key frame.
    package func requestKeyFrame() { coders.isKeyFrameWanted.store(true, ordering: .relaxed) }

    /// The stream is over: what is on its way comes out, then `last` is called.
    package func finish(_ last: @escaping @Sendable () -> Void) {
        let coders = self.coders
        let output = self.output
        worker.finish {
            coders.finish(output)
            last()
        }
    }

    /// The frames are not wanted any more. `last` is called when none comes any more.
    package func abandon(_ last: @escaping @Sendable () -> Void = {}) { worker.abandon(last) }
}

/// The transcoders of one stream. Only the worker touches them, one thread at a time, and after `init` nobody else.
private final class Coders: @unchecked Sendable {
    /// Set by any thread.
    let isKeyFrameWanted = Atomic<Bool>(false)
    var audio: [Int: AudioTranscoder] = [:]
    var video: [Int: VideoTranscoder] = [:]
    private var ended: Set<Int> = []

    func work(
        _ frame: MediaFrame, _ failed: @Sendable (Int, CodecError) -> Void, _ output: @Sendable (MediaFrame) -> Void
    ) {
        guard !ended.contains(frame.track) else { return }
        if isKeyFrameWanted.exchange(false, ordering: .relaxed) {
            for coder in video.values { coder.requestKeyFrame() }
        }
        do throws(CodecError) {
            if let coder = audio[frame.track] {
                try coder.transcode(frame).forEach(output)
            } else if let coder = video[frame.track] {
                try coder.transcode(frame).forEach(output)
            } else {
                output(frame)
            }
        } catch {
            ended.insert(frame.track)
            failed(frame.track, error)
        }
    }

    func finish(_ output: @Sendable (MediaFrame) -> Void) {
        for (track, coder) in audio.sorted(by: { $0.key < $1.key }) where !ended.contains(track) {
            // Errors at the very end cost a part of a frame of silence.
            if let rest = try? coder.finish() { rest.forEach(output) }
        }
    }
}
