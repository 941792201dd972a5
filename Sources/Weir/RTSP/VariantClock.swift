import MediaFormats
import RTP
import Wire

/// The clocks of a stream's tracks as its variant passes them on.
///
/// The time of frames (`MediaFrame.time`) moves while the tracks are put in line, some ten milliseconds a second, which would
/// be seen: RTP's way is that each track keeps its own clock, and sender reports say how the clocks belong together. So a
/// frame's place here follows its RTP timestamp alone, and the publisher's reports hold for what is made of it. Until there
/// are some, the relation is that of the frames' times.
package struct VariantClock {
    private struct Track {
        let rate: Int64
        /// The last frame: as it came, where it is on the stream's clock, and here. Nanoseconds.
        var last: (timestamp: UInt32, time: Int64, own: Int64)?
        var report: (ntp: NTPTime, timestamp: UInt32)?
    }

    private var tracks: [Track]
    /// Nanoseconds since 1970, about when the first frame comes.
    private let began: UInt64
    /// ... and at the zero of the stream's clock: what holds as long as no report says better.
    private var zero: UInt64?
    /// Changes with each track that begins, and with what reports say of tracks that had none.
    package private(set) var version = 0

    /// Ticks per second that a session description may claim; more would overflow.
    private static let maxRate = 10_000_000

    package init(_ tracks: [TrackDescription], began: UInt64) {
        self.tracks = tracks.map { Track(rate: Int64(min(max(1, $0.clockRate), Self.maxRate))) }
        self.began = began
    }

    /// A frame comes.
    ///
    /// - Returns: its place on the track's own clock. It begins where the stream's is.
    package mutating func place(_ frame: MediaFrame) -> Interval {
        guard tracks.indices.contains(frame.track), let timestamp = frame.timestamp else { return frame.time }
        let time = frame.time.nanoseconds
        if zero == nil { zero = began &- UInt64(bitPattern: time) }
        var own = time
        if tracks[frame.track].last == nil { version += 1 }
        if let last = tracks[frame.track].last {
            let passed = time &- last.time
            if frame.flags.contains(.discontinuity) {
                own = last.own &+ max(passed, 0)
                // What was said of the timestamps before is not true of these.
                tracks[frame.track].report = nil
            } else {
                let ticks = Self.distance(timestamp, last.timestamp, about: passed, tracks[frame.track].rate)
                own = last.own &+ Self.nanoseconds(ticks, tracks[frame.track].rate)
            }
        }
        tracks[frame.track].last = (timestamp, time, own)
        return Interval(nanoseconds: own)
    }

    /// The publisher says when a timestamp was, by its wall clock.
    package mutating func handleReport(track: Int, ntp: UInt64, timestamp: UInt32) {
        guard tracks.indices.contains(track), ntp != 0 else { return }
        if tracks[track].report == nil { version += 1 }
        tracks[track].report = (NTPTime(rawValue: ntp), timestamp)
    }

    /// When it is, by the publisher's clock, at a time on a track's own clock. Nil while there is nothing of the track.
    package func ntp(track: Int, at own: Interval) -> NTPTime? {
        guard tracks.indices.contains(track), let last = tracks[track].last else { return nil }
        if let said = said(track) { return said.advanced(by: own.nanoseconds) }
        let time = own.nanoseconds &+ (last.time &- last.own)
        // Another track's reports: frames of one time belong together.
        for other in tracks.indices {
            guard let said = said(other), let last = tracks[other].last else { continue }
            return said.advanced(by: time &- (last.time &- last.own))
        }
        return zero.map { NTPTime(unixNanoseconds: $0 &+ UInt64(bitPattern: time)) }
    }

    /// At the zero of the track's own clock, by its report.
    private func said(_ track: Int) -> NTPTime? {
        guard let report = tracks[track].report, let last = tracks[track].last else { return nil }
        let ticks = Int64(Int32(bitPattern: report.timestamp &- last.timestamp))
        return report.ntp.advanced(by: 0 &- last.own &- Self.nanoseconds(ticks, tracks[track].rate))
    }

    /// Ticks between two timestamps, of those that they may stand for the nearest to what has passed.
    private static func distance(_ timestamp: UInt32, _ last: UInt32, about passed: Int64, _ rate: Int64) -> Int64 {
        // 35 days: further away the wraps cannot be told anyway.
        let bounded = min(max(passed, -3_000_000_000_000_000), 3_000_000_000_000_000)
        let expected = bounded / 1_000_000 &* rate / 1_000
        return expected &+ Int64(Int32(bitPattern: timestamp &- last &- UInt32(truncatingIfNeeded: expected)))
    }

    private static func nanoseconds(_ ticks: Int64, _ rate: Int64) -> Int64 {
        let (seconds, rest) = ticks.quotientAndRemainder(dividingBy: rate)
        return seconds &* 1_000_000_000 &+ rest &* 1_000_000_000 / rate
    }
}

extension NTPTime {
    fileprivate func advanced(by nanoseconds: Int64) -> NTPTime {
        let (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        let ticks = seconds &<< 32 &+ (rest &<< 32) / 1_000_000_000
        return NTPTime(rawValue: rawValue &+ UInt64(bitPattern: ticks))
    }
}
