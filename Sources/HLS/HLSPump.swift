import MediaFormats
import Synchronization
import Wire

/// Carries a publisher's frames through a producer into a stream: the shell of both, for the thread that reads frames
/// and for the one that keeps time.
package final class HLSPump: Sendable {
    private struct State {
        var producer: HLSProducer
        /// When stream time zero was, by the arrival of the first frame; nil: none has come.
        var arrivalAtZero: Int64?
        var capture = CaptureClock()
        var isOver = false
    }

    package let stream: HLSStream
    private let requestKeyFrame: @Sendable () -> Void
    private let onLongGroups: @Sendable (Bool) -> Void
    /// Nanoseconds since 1970.
    private let wallClock: @Sendable () -> Int64
    private let state: Mutex<State>

    /// - Parameters:
    ///   - origin: where in the stream's output the first frame belongs.
    ///   - onLongGroups: the publisher sends key frames too rarely, or no longer so.
    package init(
        stream: HLSStream, tracks: [TrackDescription], settings: Segmenter.Settings, origin: Interval,
        isDiscontinuity: Bool, wallClock: @escaping @Sendable () -> Int64,
        requestKeyFrame: @escaping @Sendable () -> Void, onLongGroups: @escaping @Sendable (Bool) -> Void = { _ in }
    ) {
        let isTransportStream = stream.isTransportStream
        self.stream = stream
        self.wallClock = wallClock
        self.requestKeyFrame = requestKeyFrame
        self.onLongGroups = onLongGroups
        let producer = HLSProducer(
            tracks: tracks, plan: stream.plan, settings: settings, origin: origin, unixTimeAtZero: 0,
            isDiscontinuity: isDiscontinuity,
            makeWriter: { if isTransportStream { TransportStream() } else { FragmentedMP4() } })
        state = Mutex(State(producer: producer))
    }

    package func handle(_ frame: MediaFrame, now: Instant) {
        let output = state.withLock { state -> HLSProducer.Output? in
            guard !state.isOver else { return nil }
            if state.arrivalAtZero == nil {
                let arrival = wallClock() &- frame.time.nanoseconds
                state.arrivalAtZero = arrival
                state.producer.unixTimeAtZero = state.capture.unixTimeAtZero(arrival: arrival)
            }
            return state.producer.append(frame, now: now)
        }
        if let output { apply(output, now: now) }
    }

    /// The publisher has said when something was captured.
    ///
    /// - Parameters:
    ///   - ntp: by its own clock, nanoseconds since 1970.
    ///   - time: of the stream, as the times of frames.
    ///   - age: how long ago the report came.
    package func handleReport(ntp: Int64, at time: Interval, age: Interval) {
        let arrival = wallClock() &- age.nanoseconds
        state.withLock { state in
            state.capture.take(ntp: ntp, at: time, arrival: arrival)
            guard let byArrival = state.arrivalAtZero else { return }
            state.producer.unixTimeAtZero = state.capture.unixTimeAtZero(arrival: byArrival)
        }
    }

    /// To be called every 100 ms or so.
    package func advance(now: Instant) {
        let output = state.withLock { $0.isOver ? nil : $0.producer.advance(now: now) }
        if let output { apply(output, now: now) }
    }

    /// The publisher has gone. Idempotent.
    package func ended(now: Instant) {
        let output = state.withLock { state -> HLSProducer.Output? in
            guard !state.isOver else { return nil }
            state.isOver = true
            return state.producer.finish()
        }
        guard let output else { return }
        apply(output, now: now)
        stream.publisherGone(now: now)
    }

    package var counts: Segmenter.Counts { state.withLock { $0.producer.counts } }

    private func apply(_ output: HLSProducer.Output, now: Instant) {
        if !output.changes.isEmpty || output.longGroups != nil { stream.apply(output, now: now) }
        if output.needsKeyFrame { requestKeyFrame() }
        if let long = output.longGroups { onLongGroups(long) }
    }
}
