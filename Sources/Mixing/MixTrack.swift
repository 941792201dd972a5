import Foundation
import MediaFiles
import MediaFormats
import MediaFrames
import Wire

/// One track of an input, as a first reading has found it.
package struct MixTrack: Sendable, Equatable {
    package var path: String
    /// Of the file, in the order given.
    package var file: Int
    /// Among the streams of the file.
    package var number: Int
    package var description: TrackDescription
    /// Of the track, or else of the file.
    package var name: String
    /// On the mix's line of time.
    package var begin: Interval
    package var end: Interval
    /// From the times that `Demuxer` gives to the mix's.
    package var shift: Interval

    package init(
        path: String, file: Int, number: Int, description: TrackDescription, name: String, begin: Interval,
        end: Interval, shift: Interval
    ) {
        self.path = path
        self.file = file
        self.number = number
        self.description = description
        self.name = name
        self.begin = begin
        self.end = end
        self.shift = shift
    }

    package func isOn(_ time: Interval) -> Bool { begin <= time && time < end }

    /// Every track is read by a demuxer of its own: so a track that pauses, or a file in which tracks lie far apart,
    /// costs no memory.
    func open(_ isCancelled: @escaping () -> Bool) throws(MixError) -> Demuxer {
        do throws(ContainerError) {
            return try Demuxer(path: path, selection: .only(number), isCancelled: isCancelled)
        } catch {
            throw .reading(path, error)
        }
    }
}

/// The tracks of all inputs, and how long the mix will be.
package struct MixPlan: Sendable, Equatable {
    /// What decoders of one process may be at a time.
    private static let mostTracks = 256
    /// What a last frame is taken to last if its file does not say.
    private static let usualFrame = Interval.milliseconds(33)

    /// Frames of one track further apart than the recorder would write them.
    private static let longestGap = Interval.seconds(4 * 3_600)

    package var tracks: [MixTrack]
    package var length: Interval

    package var pictures: [MixTrack] { tracks.filter(\.description.isVideo) }
    package var sounds: [MixTrack] { tracks.filter { !$0.description.isVideo } }

    /// Reads all inputs once, without decoding anything.
    ///
    /// - Parameter progress: share that is done; false stops.
    package init(_ settings: MixSettings, progress: @escaping (Double) -> Bool) throws(MixError) {
        var found: [MixTrack] = []
        var files: [MixClock.File] = []
        for (index, path) in settings.inputs.enumerated() {
            let count = Double(settings.inputs.count)
            let scan = try Self.scan(path, file: index) { progress((Double(index) + $0) / count) }
            found += scan.tracks
            files.append(.init(path: path, startedAt: scan.startedAt, offset: settings.offsets[path]))
        }
        guard found.count <= Self.mostTracks else {
            throw MixError(
                .badInput, "the inputs have \(found.count) tracks", remedy: "mix at most \(Self.mostTracks) at a time")
        }
        try self.init(found, shifts: try MixClock.shifts(files))
    }

    /// - Parameters:
    ///   - tracks: with times of their files.
    ///   - shifts: by file.
    package init(_ tracks: [MixTrack], shifts: [Interval]) throws(MixError) {
        var tracks = tracks
        for index in tracks.indices {
            let shift = shifts[tracks[index].file]
            tracks[index].begin = tracks[index].begin + shift
            tracks[index].end = tracks[index].end + shift
            tracks[index].shift = tracks[index].shift + shift
        }
        // The mix begins with what is first.
        let zero = tracks.map(\.begin).min() ?? .zero
        for index in tracks.indices {
            tracks[index].begin = tracks[index].begin - zero
            tracks[index].end = tracks[index].end - zero
            tracks[index].shift = tracks[index].shift - zero
        }
        length = tracks.map(\.end).max() ?? .zero
        if length > MixClock.longest, let last = tracks.max(by: { $0.end < $1.end }) {
            throw MixError(
                .badInput,
                "\(last.path): the mix would last more than \(MixClock.longest.milliseconds / 86_400_000) days",
                remedy: "look at its times with ffprobe, or leave it out")
        }
        self.tracks = Self.ordered(tracks)
    }

    /// Who comes first stands first; who comes back stands where he was.
    private static func ordered(_ tracks: [MixTrack]) -> [MixTrack] {
        struct Owner: Hashable {
            var file: Int
            var name: String
        }
        var first: [Owner: Interval] = [:]
        for track in tracks {
            let owner = Owner(file: track.file, name: track.name)
            first[owner] = min(first[owner] ?? track.begin, track.begin)
        }
        return tracks.sorted { one, other in
            let starts = [one, other].map { first[Owner(file: $0.file, name: $0.name)] ?? .zero }
            return (starts[0].nanoseconds, one.file, one.name, one.begin.nanoseconds, one.number)
                < (starts[1].nanoseconds, other.file, other.name, other.begin.nanoseconds, other.number)
        }
    }

    private static func scan(
        _ path: String, file: Int, progress: @escaping (Double) -> Bool
    ) throws(MixError) -> (tracks: [MixTrack], startedAt: Int64?) {
        var isStopped = false
        do throws(ContainerError) {
            let demuxer = try Demuxer(path: path, selection: .all) { isStopped }
            var spans = demuxer.tracks.map { _ in Span() }
            var samples = 0
            while let sample = try demuxer.next() {
                spans[sample.frame.track].add(sample.frame)
                samples += 1
                if samples % 1_024 == 1 {
                    let length = max(demuxer.duration.nanoseconds, sample.decodeTime.nanoseconds, 1)
                    isStopped = !progress(Double(max(0, sample.decodeTime.nanoseconds)) / Double(length))
                }
            }
            if isStopped { throw .cancelled }
            let tracks = demuxer.tracks.indices.compactMap { index -> MixTrack? in
                guard let begin = spans[index].begin, let last = spans[index].last else { return nil }
                let title = demuxer.titles[index]
                return MixTrack(
                    path: path, file: file, number: demuxer.numbers[index], description: demuxer.tracks[index],
                    name: title.isEmpty ? Self.name(of: path) : title, begin: begin + demuxer.start,
                    end: (spans[index].end > last ? spans[index].end : last + Self.usualFrame) + demuxer.start,
                    shift: demuxer.start)
            }
            guard !tracks.isEmpty else { throw .wrongFormat }
            return (tracks, demuxer.startedAt)
        } catch {
            throw .reading(path, error)
        }
    }

    private static func name(of path: String) -> String {
        let last = path.split(separator: "/").last.map(String.init) ?? path
        guard let dot = last.lastIndex(of: "."), dot != last.startIndex else { return last }
        return String(last[..<dot])
    }

    private struct Span {
        var begin: Interval?
        var last: Interval?
        var end = Interval.zero

        mutating func add(_ frame: MediaFrame) {
            // The clock of a damaged file: nobody wants hours of nothing.
            if let last, frame.time - last > longestGap { return }
            begin = min(begin ?? frame.time, frame.time)
            last = max(last ?? frame.time, frame.time)
            end = max(end, frame.time + (frame.duration ?? .zero))
        }
    }
}
