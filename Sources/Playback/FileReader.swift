import MediaFiles
import MediaFormats
import MediaFrames
import Wire

/// Reads a file as units that are ready to be sent: what players cannot take is transcoded, the rest is packetised as it
/// is. Sound comes out as Opus. Pictures out of order (B frames) are transcoded, since WebRTC has no way to put them in
/// order. Waits for the disk; one thread at a time.
package final class FileReader {
    /// How much of a file is looked at for a key frame and, behind it, for pictures out of order.
    private static let probeSamples = 3_000
    private static let probeBytes = 8 << 20
    private static let probePictures = 48
    /// A file that is shorter is not played again and again.
    private static let shortestLoop = Interval.milliseconds(10)
    /// Of a track's only picture.
    private static let usualPicture = Interval.milliseconds(40)

    package private(set) var tracks: [PlaybackTrack] = []
    /// As the file says; zero if it does not.
    package let duration: Interval

    private let demuxer: Demuxer
    private let loops: Bool
    private var lanes: [Lane] = []
    /// Read while the file was looked at.
    private var probed: ArraySlice<Demuxer.Sample> = []
    private var ready: [MediaUnit] = []
    private var readyHead = 0
    /// Time at which the present pass through the file began, and the end of what it had so far.
    private var offset = Interval.zero
    private var passEnd = Interval.zero
    private var passHasUnits = false
    private var isOver = false
    private let place: TranscodingPlaces.Place?

    /// What is known of one track.
    private struct Lane {
        var packetiser: Packetiser
        var audio: AudioTranscoder?
        var video: VideoTranscoder?
        var isVideo: Bool
        var awaitsKeyFrame = true
        var lastFrame: MediaFrame?
        var lastDue: Interval?
        var lastTime: Interval?
        /// Between the last two pictures.
        var step: Interval
    }

    /// - Parameters:
    ///   - descriptor: of a regular file; it is closed in any case.
    ///   - loops: begin anew at the end.
    ///   - isCancelled: asked while reading, from the reading thread.
    package init(
        descriptor: CInt, loops: Bool, places: TranscodingPlaces, isCancelled: @escaping () -> Bool = { false }
    ) throws(PlaybackError) {
        let demuxer: Demuxer
        do throws(ContainerError) {
            demuxer = try Demuxer(descriptor: descriptor, isCancelled: isCancelled)
        } catch {
            throw .container(error)
        }
        self.demuxer = demuxer
        self.loops = loops
        duration = demuxer.duration
        let probe = try Self.probe(demuxer)
        probed = probe.samples[...]
        let video = demuxer.tracks.firstIndex(where: \.isVideo)
        let isDisordered = video.map { demuxer.reorders[$0] || probe.isDisordered } ?? false
        place = try isDisordered ? places.take() : nil
        for (index, track) in demuxer.tracks.enumerated() {
            if track.isVideo {
                guard let keyFrame = probe.keyFrame else { throw .nothingToPlay }
                try addVideo(track, index, keyFrame, transcoded: isDisordered)
            } else {
                try addAudio(track)
            }
        }
    }

    // MARK: Looking at the file

    private static func probe(
        _ demuxer: Demuxer
    ) throws(PlaybackError) -> (samples: [Demuxer.Sample], keyFrame: MediaFrame?, isDisordered: Bool) {
        guard let video = demuxer.tracks.firstIndex(where: \.isVideo) else { return ([], nil, false) }
        var samples: [Demuxer.Sample] = []
        var keyFrame: MediaFrame?
        var (bytes, pictures, isDisordered) = (0, 0, false)
        var latest: Interval?
        while pictures < probePictures, samples.count < probeSamples, bytes < probeBytes {
            guard let sample = try next(of: demuxer) else { break }
            samples.append(sample)
            bytes += sample.frame.data.count
            guard sample.frame.track == video else { continue }
            if keyFrame == nil, sample.frame.isKeyFrame { keyFrame = sample.frame }
            guard keyFrame != nil else { continue }
            pictures += 1
            if let latest, sample.frame.time < latest { isDisordered = true }
            latest = max(latest ?? sample.frame.time, sample.frame.time)
        }
        return (samples, keyFrame, isDisordered)
    }

    private static func next(of demuxer: Demuxer) throws(PlaybackError) -> Demuxer.Sample? {
        do throws(ContainerError) {
            return try demuxer.next()
        } catch {
            throw .container(error)
        }
    }

    private func addVideo(
        _ track: TrackDescription, _ index: Int, _ keyFrame: MediaFrame, transcoded: Bool
    ) throws(PlaybackError) {
        var description = TrackDescription(codec: transcoded ? .h264 : track.codec)
        var lane = Lane(
            packetiser: Packetiser(codec: description.codec), isVideo: true, step: Self.usualPicture)
        if transcoded {
            var settings = VideoTranscoder.Settings()
            settings.reorders = true
            do throws(CodecError) {
                lane.video = try VideoTranscoder(from: track, settings: settings)
            } catch {
                throw .codec(error)
            }
            description.formatParameters = FormatParameters.baselineH264
        } else {
            let sets = keyFrame.parameterSets ?? track.parameterSets
            description.formatParameters = FormatParameters.video(
                track.codec, parameterSets: sets, keyFrame: keyFrame.data)
        }
        lanes.append(lane)
        tracks.append(
            PlaybackTrack(
                description: description, rotation: demuxer.rotations[index], source: track.codec,
                isTranscoded: transcoded))
    }

    private func addAudio(_ track: TrackDescription) throws(PlaybackError) {
        let isOpus = track.codec == .opus
        var lane = Lane(packetiser: Packetiser(codec: .opus), isVideo: false, awaitsKeyFrame: false, step: .zero)
        if !isOpus {
            do throws(CodecError) {
                lane.audio = try AudioTranscoder(from: track, to: .opus)
            } catch {
                throw .codec(error)
            }
        }
        lanes.append(lane)
        tracks.append(
            PlaybackTrack(
                description: TrackDescription(codec: .opus, formatParameters: FormatParameters.opus),
                source: track.codec, isTranscoded: !isOpus))
    }

    // MARK: Reading

    /// The next unit; those of one track are in order. nil at the end, which a loop has none of.
    package func next() throws(PlaybackError) -> MediaUnit? {
        while readyHead == ready.count {
            ready.removeAll(keepingCapacity: true)
            readyHead = 0
            if isOver { return nil }
            if let sample = try nextSample() {
                try take(sample)
            } else {
                try endPass()
            }
        }
        defer { readyHead += 1 }
        return ready[readyHead]
    }

    private func nextSample() throws(PlaybackError) -> Demuxer.Sample? {
        guard let sample = probed.popFirst() else { return try Self.next(of: demuxer) }
        // A slice keeps all that it ever had.
        if probed.isEmpty { probed = [] }
        return sample
    }

    private func take(_ sample: Demuxer.Sample) throws(PlaybackError) {
        var frame = sample.frame
        let track = frame.track
        guard lanes.indices.contains(track) else { return }
        if lanes[track].awaitsKeyFrame {
            guard frame.isKeyFrame else { return }
            lanes[track].awaitsKeyFrame = false
        }
        frame.time = frame.time + offset
        let lane = lanes[track]
        if lane.isVideo {
            if let last = lane.lastFrame, frame.time > last.time { lanes[track].step = frame.time - last.time }
        } else if lane.audio == nil, let last = lane.lastFrame {
            // Sound of the pass before that lasted longer than its pictures.
            let half = Interval.nanoseconds((last.duration ?? .zero).nanoseconds / 2)
            guard frame.time > last.time + half else { return }
        }
        passEnd = max(passEnd, frame.time + (frame.duration ?? lanes[track].step))
        lanes[track].lastFrame = frame
        if lane.video == nil, lane.audio == nil {
            add(frame, due: min(frame.time, sample.decodeTime + offset))
        } else {
            for made in try transcode(frame, lane) { add(made, due: made.time) }
        }
    }

    private func transcode(_ frame: MediaFrame, _ lane: Lane) throws(PlaybackError) -> [MediaFrame] {
        do throws(CodecError) {
            if let video = lane.video { return try video.transcode(frame) }
            return try lane.audio?.transcode(frame) ?? []
        } catch {
            throw .codec(error)
        }
    }

    private func add(_ frame: MediaFrame, due: Interval) {
        let payloads = lanes[frame.track].packetiser.payloads(of: frame.data, isKeyFrame: frame.isKeyFrame)
        guard !payloads.isEmpty else { return }
        passHasUnits = true
        let due = max(due, lanes[frame.track].lastDue ?? due)
        lanes[frame.track].lastDue = due
        let isVideo = lanes[frame.track].isVideo
        ready.append(
            MediaUnit(
                track: frame.track, time: frame.time, due: due,
                duration: frame.duration ?? lanes[frame.track].step, isVideo: isVideo, isKeyFrame: frame.isKeyFrame,
                orientation: isVideo ? Self.orientation(frame.rotation) : nil, payloads: payloads))
    }

    /// nil for pictures that are upright.
    private static func orientation(_ rotation: VideoRotation) -> UInt8? {
        rotation == .none ? nil : UInt8(rotation.rawValue / 90)
    }

    /// The file is at its end: once more from the beginning, if that is wanted and there was something.
    private func endPass() throws(PlaybackError) {
        for lane in lanes {
            guard let video = lane.video, let last = lane.lastFrame else { continue }
            do throws(CodecError) {
                for made in try video.flush(after: last) { add(made, due: made.time) }
            } catch {
                throw .codec(error)
            }
        }
        guard loops, passHasUnits, passEnd - offset >= Self.shortestLoop else { return finish() }
        offset = passEnd
        passHasUnits = false
        for index in lanes.indices { lanes[index].awaitsKeyFrame = lanes[index].isVideo }
        do throws(ContainerError) {
            try demuxer.rewind()
        } catch {
            throw .container(error)
        }
    }

    private func finish() {
        isOver = true
        for lane in lanes {
            // An error at the very end costs a part of a frame of silence.
            for made in (try? lane.audio?.finish()) ?? [] { add(made, due: made.time) }
        }
    }
}
