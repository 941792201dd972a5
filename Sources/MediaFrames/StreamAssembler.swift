import MediaFormats
import RTP
import Wire

/// All tracks of one stream: packets and sender reports in, frames on one clock out. Used by recordings, snapshots, HLS
/// and RTSP alike, each with one of its own.
///
/// A value without I/O, clock or thread: whoever owns it feeds it, then takes frames by `poll` until there are none.
/// Packets may come in any order, twice or never. Bytes and numbers may be hostile: nothing traps, all is bounded.
package struct StreamAssembler: Sendable {
    package let tracks: [TrackDescription]
    private var assemblers: [FrameAssembler]
    private var timeline: Timeline
    private var ready: [MediaFrame] = []
    private var next = 0

    package init(tracks: [TrackDescription], settings: AssemblerSettings = AssemblerSettings()) {
        self.tracks = tracks
        assemblers = tracks.enumerated().map {
            FrameAssembler(track: $0.offset, description: $0.element, settings: settings)
        }
        timeline = Timeline(tracks: tracks.map { ($0.clockRate, !$0.isVideo) })
    }

    /// Takes a packet; one of a track that does not exist is ignored.
    ///
    /// - Parameter payload: what follows the RTP header, without padding.
    package mutating func handle(_ packet: MediaPacket, payload: RawSpan) {
        guard assemblers.indices.contains(packet.track) else { return }
        assemblers[packet.track].handle(packet, payload)
        collect(packet.track)
    }

    /// Takes a sender report of the publisher.
    ///
    /// - Returns: where its moment is on the stream's clock; nil if that cannot be told.
    @discardableResult
    package mutating func handleReport(
        track: Int, ntp: NTPTime, timestamp: UInt32, arrival: Instant
    ) -> PlacedReport? {
        timeline.handleReport(track: track, ntp: ntp, timestamp: timestamp, arrival: arrival)
    }

    /// Packets were lost on our own side: what is missing will not come, so it is not waited for.
    package mutating func handleGap() {
        for track in assemblers.indices {
            assemblers[track].handleGap()
            collect(track)
        }
    }

    /// Lets waits for missing packets run out.
    package mutating func advance(now: Instant) {
        for track in assemblers.indices where assemblers[track].deadline <= now {
            assemblers[track].advance(now: now)
            collect(track)
        }
    }

    /// The stream is over: what is whole is given out.
    package mutating func finish() {
        for track in assemblers.indices {
            assemblers[track].finish()
            collect(track)
        }
    }

    /// The next frame, if there is one.
    package mutating func poll() -> MediaFrame? {
        guard next < ready.count else {
            ready.removeAll(keepingCapacity: true)
            next = 0
            return nil
        }
        defer { next += 1 }
        return ready[next]
    }

    /// When `advance` has something to do; `.distantFuture` if no packet is missing.
    package var nextDeadline: Instant { assemblers.map(\.deadline).min() ?? .distantFuture }

    /// A video track cannot go on without a key frame. Who can ask the publisher for one should; asking is throttled by
    /// the engine.
    package var wantsKeyFrame: Bool { assemblers.contains { $0.description.isVideo && $0.wantsKeyFrame } }

    package func counts(track: Int) -> AssemblyCounts {
        assemblers.indices.contains(track) ? assemblers[track].counts : AssemblyCounts()
    }

    private mutating func collect(_ track: Int) {
        guard !assemblers[track].ready.isEmpty else { return }
        for assembled in assemblers[track].ready {
            let place = timeline.place(track: track, timestamp: assembled.timestamp, arrival: assembled.arrival)
            var frame = assembled.frame
            frame.time = place.time
            frame.timestamp = assembled.timestamp
            if place.isDiscontinuity {
                frame.flags.insert(.discontinuity)
                assemblers[track].countDiscontinuity()
            }
            ready.append(frame)
        }
        assemblers[track].ready.removeAll(keepingCapacity: true)
    }
}
