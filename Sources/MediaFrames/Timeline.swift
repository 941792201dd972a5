import RTP
import Wire

/// Timestamps of all tracks of one stream, each on a clock of its own, to one clock: the receiver's, which is zero when
/// the stream's first packet arrives.
///
/// A track's time is its media time (timestamp over clock rate) plus two corrections. The track's own `offset` puts the
/// tracks of a stream in line with each other: by the publisher's sender reports (RFC 3550 §6.4.1), until the first one by
/// arrival, taking the packet with the shortest way as the measure. The common `drift` follows the difference between
/// the publisher's clock and ours, likewise by the packets with the shortest way. Both move towards their targets
/// slowly, so that time never jumps, and never runs backwards while timestamps rise.
///
/// Time does jump (and says so) where timestamps do: when a source begins anew, or stops its clock while it is muted.
/// A value without clock; nothing in it grows with the stream's length, and timestamps may wrap as often as they like.
package struct Timeline: Sendable {
    /// A frame's place on the stream's clock.
    package struct Place: Sendable, Equatable {
        package var time: Interval
        /// The track's timestamps jumped before this frame.
        package var isDiscontinuity: Bool
    }

    private var tracks: [TrackClock]
    private var zero: Instant?
    /// Nanoseconds by which our clock has run ahead of the publisher's.
    private var drift: Int64 = 0
    private var driftMoved: Instant?
    /// What NTP times are counted from.
    private var ntpOrigin: NTPTime?
    /// Nanoseconds from the publisher's NTP time to media time, set so that the reference track stays where it is.
    private var ntpOffset: Int64?
    /// The track that the others are put in line with: sound, whose gaps are heard, if it sends reports.
    private var reference: Int?
    /// Counts the jumps of the publisher's NTP time.
    private var epoch = 0

    /// - Parameter tracks: clock rate of each track, and whether it is sound.
    package init(tracks: [(clockRate: Int, isAudio: Bool)]) {
        self.tracks = tracks.map {
            TrackClock(rate: Int64(min(max(1, $0.clockRate), Self.maxClockRate)), isAudio: $0.isAudio)
        }
    }

    /// Ticks per second that a session description may claim; more would overflow.
    private static let maxClockRate = 10_000_000

    // MARK: - Frames

    /// Places a frame. Frames of a track come in the order in which they are to be decoded.
    ///
    /// - Parameter arrival: when the frame's first packet came.
    package mutating func place(track: Int, timestamp: UInt32, arrival: Instant) -> Place {
        guard tracks.indices.contains(track) else { return Place(time: .zero, isDiscontinuity: false) }
        let zero = zero ?? arrival
        self.zero = zero
        let local = (arrival - zero).nanoseconds
        moveDrift(arrival)
        var isDiscontinuity = false
        if tracks[track].hasBegun {
            isDiscontinuity = tracks[track].take(timestamp: timestamp, local: local, drift: drift)
            if isDiscontinuity && reference == track { reference = nil }
        } else {
            begin(track, timestamp, local)
        }
        return Place(time: Interval(nanoseconds: tracks[track].time &+ drift), isDiscontinuity: isDiscontinuity)
    }

    private mutating func begin(_ track: Int, _ timestamp: UInt32, _ local: Int64) {
        tracks[track].begin(timestamp: timestamp, local: local, drift: drift)
        guard let report = tracks[track].pendingReport else { return }
        tracks[track].pendingReport = nil
        apply(report, to: track)
        // Nothing of the track is out yet: it need not move slowly.
        tracks[track].settle()
    }

    // MARK: - Reports

    /// Takes a sender report. One that comes before the track's first packet is kept for it.
    ///
    /// - Returns: where its moment is on the stream's clock; nil if that cannot be told.
    @discardableResult
    package mutating func handleReport(
        track: Int, ntp: NTPTime, timestamp: UInt32, arrival: Instant
    ) -> PlacedReport? {
        // Senders without a wall clock may send zero (RFC 3550 §6.4.1).
        guard tracks.indices.contains(track), ntp.rawValue != 0 else { return nil }
        let origin = ntpOrigin ?? ntp
        ntpOrigin = origin
        let report = ClockReport(ntp: ntp.nanoseconds(since: origin), timestamp: timestamp, arrival: arrival)
        guard tracks[track].hasBegun, zero != nil else {
            tracks[track].pendingReport = report
            return nil
        }
        apply(report, to: track)
        return place(report, ntp, of: track)
    }

    /// Where frames of that timestamp are, once the track is in line with the others.
    private mutating func place(_ report: ClockReport, _ ntp: NTPTime, of track: Int) -> PlacedReport? {
        guard let zero, tracks[track].hasReport,
            let media = tracks[track].mediaTime(ofReport: report, local: (report.arrival - zero).nanoseconds)
        else { return nil }
        return PlacedReport(
            ntp: ntp, time: Interval(nanoseconds: media &+ tracks[track].target &+ drift), arrival: report.arrival)
    }

    private mutating func apply(_ report: ClockReport, to track: Int) {
        guard let zero else { return }
        let local = (report.arrival - zero).nanoseconds
        guard let media = tracks[track].mediaTime(ofReport: report, local: local) else { return }
        let distance = report.ntp &- media
        guard let offset = ntpOffset, reference != nil else {
            setReference(track, distance)
            return
        }
        if tracks[track].isAudio, let reference, !tracks[reference].isAudio, !tracks[track].hasReport {
            setReference(track, distance)
            return
        }
        let target = offset &+ distance
        guard tracks[track].hasReport, (target &- tracks[track].target).magnitude > Self.reportJump else {
            tracks[track].aim(at: target, epoch: epoch)
            return
        }
        if reference == track {
            // The publisher's wall clock was set: media goes on as it was, other tracks wait for a report of theirs.
            ntpOffset = tracks[track].target &- distance
            epoch += 1
            tracks[track].aim(at: tracks[track].target, epoch: epoch)
        } else {
            tracks[track].consider(target, epoch: epoch)
        }
    }

    /// Reports further from the former ones than this are not believed at once.
    private static let reportJump: UInt64 = 500_000_000

    /// From here on the others are put in line with this track, which stays as it is.
    private mutating func setReference(_ track: Int, _ distance: Int64) {
        let offset = tracks[track].offset &- distance
        let change = offset &- (ntpOffset ?? offset)
        for other in tracks.indices where other != track && tracks[other].hasReport && reference != nil {
            tracks[other].shiftTarget(by: change)
        }
        ntpOffset = offset
        reference = track
        tracks[track].aim(at: tracks[track].offset, epoch: epoch)
    }

    // MARK: - Drift

    private mutating func moveDrift(_ now: Instant) {
        let moved = driftMoved ?? now
        driftMoved = max(moved, now)
        var target: Int64?
        for track in tracks where track.hasReport {
            guard let shortest = track.shortestWay else { continue }
            target = min(target ?? .max, shortest &- track.target)
        }
        guard let target else { return }
        drift &+= Slew.drift.step(from: drift, to: target, elapsed: (now - moved).nanoseconds)
    }
}

/// A moment of which the publisher has said when it was: what was captured then has that time.
package struct PlacedReport: Sendable, Equatable {
    /// By the publisher's clock, right or wrong.
    package var ntp: NTPTime
    /// On the stream's clock, as the times of frames.
    package var time: Interval
    /// When the report came.
    package var arrival: Instant

    package init(ntp: NTPTime, time: Interval, arrival: Instant) {
        self.ntp = ntp
        self.time = time
        self.arrival = arrival
    }
}

/// A sender report, NTP time in nanoseconds since the stream's first report.
struct ClockReport: Sendable {
    var ntp: Int64
    var timestamp: UInt32
    var arrival: Instant
}

extension NTPTime {
    /// Signed distance; right within 68 years, hence also over the wrap in 2036.
    func nanoseconds(since origin: NTPTime) -> Int64 {
        let distance = Int64(bitPattern: rawValue &- origin.rawValue)
        return (distance >> 32) &* 1_000_000_000 &+ ((distance & 0xffff_ffff) &* 1_000_000_000) >> 32
    }
}

/// How fast a correction may move: towards its target with a time constant, at no more than a share of the time that
/// passes, a larger one while it is far away.
struct Slew: Sendable {
    /// Nanoseconds.
    var timeConstant: Int64
    /// Millionths of the time passed.
    var limit: Int64
    var farLimit: Int64
    /// Nanoseconds.
    var far: Int64

    /// Clocks differ by some 200 millionths, at times by 1,000; larger errors are changes of the way.
    static let drift = Slew(timeConstant: 4_000_000_000, limit: 1_000, farLimit: 10_000, far: 200_000_000)
    /// By arrival, once the track has run for a while.
    static let arrival = Slew(timeConstant: 4_000_000_000, limit: 1_000, farLimit: 50_000, far: 50_000_000)
    /// Sender reports, and the first seconds.
    static let aligning = Slew(timeConstant: 1_000_000_000, limit: 50_000, farLimit: 50_000, far: 0)

    func step(from value: Int64, to target: Int64, elapsed: Int64) -> Int64 {
        // Longer gaps than this move no further: the product below must not overflow.
        let elapsed = min(max(0, elapsed), 60_000_000_000)
        let error = target &- value
        let most = elapsed / 1_000_000 &* (error.magnitude > UInt64(far) ? farLimit : limit)
        let wanted = elapsed >= timeConstant ? error : error / 1_000 &* (elapsed / 1_000) / (timeConstant / 1_000_000)
        return min(max(wanted, -most), most)
    }
}
