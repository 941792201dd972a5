import MediaFiles
import MediaFormats
import MediaFrames
import Playback
import RTSP
import Wire

/// What a source holds, as units that are ready to be sent in its own codecs: nothing is transcoded. One thread.
final class SourceReader {
    /// How much is looked at for what tracks are described by.
    private static let probeSamples = 3_000
    private static let probeBytes = 8 << 20

    let tracks: [TrackDescription]
    /// It comes as fast as it is read, so it is sent by its own times: files, and playlists of segments.
    let isPaced: Bool
    /// Its end is the end, and no loss.
    var hasEnd: Bool { isPaced }

    private let demuxer: Demuxer
    private var probed: ArraySlice<Demuxer.Sample>
    private var timeline: SourceTimeline
    private var lanes: [Lane] = []

    private struct Lane {
        var packetiser: Packetiser
        var sound: SoundClock?
        var awaitsKeyFrame: Bool
        var lastDue: Interval?
    }

    init(_ demuxer: Demuxer) throws(ContainerError) {
        self.demuxer = demuxer
        isPaced = demuxer.duration > .zero || demuxer.byteCount > 0 || demuxer.formatName == "hls"
        timeline = SourceTimeline(tracks: demuxer.tracks.count)
        probed = try Self.probe(demuxer)[...]
        var tracks: [TrackDescription] = []
        for (index, track) in demuxer.tracks.enumerated() {
            let keyFrame = probed.first { $0.frame.track == index && $0.frame.isKeyFrame }?.frame
            tracks.append(Self.described(track, keyFrame))
        }
        for (index, type) in RTSPDescription.payloadTypes(tracks).enumerated() { tracks[index].payloadType = type }
        self.tracks = tracks
        for track in tracks {
            lanes.append(
                Lane(
                    packetiser: Packetiser(codec: track.codec), sound: track.isVideo ? nil : SoundClock(),
                    awaitsKeyFrame: track.isVideo))
        }
    }

    // MARK: Looking at it

    /// Reads until every track has what it is described by.
    private static func probe(_ demuxer: Demuxer) throws(ContainerError) -> [Demuxer.Sample] {
        var missing: Set<Int> = []
        for (index, track) in demuxer.tracks.enumerated() where track.parameterSets.isEmpty {
            if [.h264, .h265, .aac].contains(track.codec) { missing.insert(index) }
        }
        var samples: [Demuxer.Sample] = []
        var bytes = 0
        while !missing.isEmpty, samples.count < probeSamples, bytes < probeBytes, let sample = try demuxer.next() {
            samples.append(sample)
            bytes += sample.frame.data.count
            if sample.frame.isKeyFrame { missing.remove(sample.frame.track) }
        }
        return samples
    }

    private static func described(_ track: TrackDescription, _ keyFrame: MediaFrame?) -> TrackDescription {
        var track = track
        if track.isVideo {
            if track.parameterSets.isEmpty { track.parameterSets = keyFrame?.parameterSets ?? [] }
            track.formatParameters = PlaybackTrack.formatParameters(
                track.codec, parameterSets: track.parameterSets, keyFrame: keyFrame?.data ?? [])
        } else if track.codec == .aac, let configuration = track.parameterSets.first,
            let facts = AudioSpecificConfig(parsing: configuration.span.bytes)
        {
            // Of the coded frames, also where a decoder makes twice as much of them (SBR).
            (track.clockRate, track.channels) = (facts.sampleRate, facts.channels)
        }
        return track
    }

    // MARK: Reading

    /// The next unit; those of one track are in the order in which they are decoded. nil at the end.
    func next() throws(ContainerError) -> MediaUnit? {
        while let sample = try nextSample() {
            if let unit = unit(of: sample) { return unit }
        }
        return nil
    }

    private func nextSample() throws(ContainerError) -> Demuxer.Sample? {
        guard let sample = probed.popFirst() else { return try demuxer.next() }
        // A slice keeps all that it ever had.
        if probed.isEmpty { probed = [] }
        return sample
    }

    private func unit(of sample: Demuxer.Sample) -> MediaUnit? {
        let frame = sample.frame
        let track = frame.track
        if lanes[track].awaitsKeyFrame {
            guard frame.isKeyFrame else { return nil }
            lanes[track].awaitsKeyFrame = false
        }
        let offset = timeline.offset(of: sample.decodeTime, track: track)
        let payloads = lanes[track].packetiser.payloads(of: frame.data, isKeyFrame: frame.isKeyFrame)
        guard !payloads.isEmpty else { return nil }
        let duration = tracks[track].isVideo ? nil : AudioPackets.duration(tracks[track], frame.data.span.bytes)
        var time = frame.time + offset
        if let placed = lanes[track].sound?.place(time, duration: duration) { time = placed }
        var due = min(time, sample.decodeTime + offset)
        due = max(due, lanes[track].lastDue ?? due)
        lanes[track].lastDue = due
        return MediaUnit(
            track: track, time: time, due: due, duration: duration ?? frame.duration ?? .zero,
            isVideo: tracks[track].isVideo, isKeyFrame: frame.isKeyFrame, payloads: payloads)
    }

    /// What gives the units out at their pace.
    func makePacer(now: Instant) -> any UnitPacer {
        let clocks = tracks.map { (rate: $0.clockRate, first: UInt32.random(in: 0 ... .max)) }
        guard isPaced else { return LivePlayout(clocks: clocks) }
        var settings = Playout.Settings()
        // Some segments' worth, so that one is fetched while the one before is sent.
        (settings.ahead, settings.mostAhead, settings.mostBytes) = (.seconds(4), .seconds(12), 16 << 20)
        settings.reportInterval = .seconds(1)
        var playout = Playout(clocks: clocks.map { Playout.Clock(rate: $0.rate, first: $0.first) }, settings: settings)
        playout.start(now: now)
        return playout
    }
}
