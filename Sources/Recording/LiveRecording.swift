import MediaFormats
import MediaFrames
import RTP
import Wire

/// A recording of a stream's packets: puts frames together and records them. One thread at a time, which may block on the
/// disk; between it and the media threads there is one bounded queue (a sink of the engine), and nothing else.
package final class LiveRecording {
    /// The publisher is asked for a key frame this often at most; the engine merges requests of all who want one.
    private static let requestInterval = Interval.seconds(1)

    package let recorder: Recorder
    private var assembler: StreamAssembler
    private let requestKeyFrame: () -> Void
    private var nextRequest = Instant.zero

    /// - Parameters:
    ///   - tracks: as the sink's packets count them.
    ///   - requestKeyFrame: asks the publisher.
    package init(
        recorder: Recorder, tracks: [TrackDescription], settings: AssemblerSettings = AssemblerSettings(),
        requestKeyFrame: @escaping () -> Void
    ) {
        self.recorder = recorder
        self.requestKeyFrame = requestKeyFrame
        assembler = StreamAssembler(tracks: tracks, settings: settings)
    }

    /// - Parameter payload: what follows the RTP header, without padding.
    package func handle(_ packet: MediaPacket, payload: RawSpan) {
        assembler.handle(packet, payload: payload)
        record(now: packet.arrival)
    }

    package func handleReport(track: Int, ntp: NTPTime, timestamp: UInt32, arrival: Instant) {
        assembler.handleReport(track: track, ntp: ntp, timestamp: timestamp, arrival: arrival)
    }

    /// The sink was full: what is missing will not come.
    package func handleGap(now: Instant) {
        assembler.handleGap()
        record(now: now)
    }

    /// Lets waits run out and the file reach the disk. Call when `nextDeadline` has come, and at least once per second.
    package func advance(now: Instant) {
        assembler.advance(now: now)
        record(now: now)
        recorder.advance(now: now)
    }

    package var nextDeadline: Instant { assembler.nextDeadline }

    /// The stream is over, or the recording is to end.
    ///
    /// - Returns: the last file's name; nil if nothing was recorded.
    @discardableResult
    package func stop(now: Instant) -> String? {
        assembler.finish()
        record(now: now)
        return recorder.stop(now: now)
    }

    /// Lost packets, broken pictures and so on, by track.
    package func counts(track: Int) -> AssemblyCounts { assembler.counts(track: track) }

    private func record(now: Instant) {
        while let frame = assembler.poll() { recorder.write(frame, now: now) }
        guard assembler.wantsKeyFrame || recorder.wantsKeyFrame, now >= nextRequest else { return }
        nextRequest = now + Self.requestInterval
        requestKeyFrame()
    }
}
