import MediaFormats
import MediaFrames
import RTP
import Recording
import Wire

/// What a server does with a stream that it records, in one piece and in virtual time: packets become frames, frames go
/// into files.
final class LiveRecording {
    /// The publisher is asked for a key frame this often at most; the engine merges requests of all who want one.
    private static let requestInterval = Interval.seconds(1)

    let recorder: Recorder
    private var assembler: StreamAssembler
    private let requestKeyFrame: () -> Void
    private var nextRequest = Instant.zero

    /// - Parameters:
    ///   - tracks: as the sink's packets count them.
    ///   - requestKeyFrame: asks the publisher.
    init(
        recorder: Recorder, tracks: [TrackDescription], settings: AssemblerSettings = AssemblerSettings(),
        requestKeyFrame: @escaping () -> Void
    ) {
        self.recorder = recorder
        self.requestKeyFrame = requestKeyFrame
        assembler = StreamAssembler(tracks: tracks, settings: settings)
    }

    /// - Parameter payload: what follows the RTP header, without padding.
    func handle(_ packet: MediaPacket, payload: RawSpan) {
        assembler.handle(packet, payload: payload)
        record(now: packet.arrival)
    }

    func handleReport(track: Int, ntp: NTPTime, timestamp: UInt32, arrival: Instant) {
        assembler.handleReport(track: track, ntp: ntp, timestamp: timestamp, arrival: arrival)
    }

    /// The sink was full: what is missing will not come.
    func handleGap(now: Instant) {
        assembler.handleGap()
        record(now: now)
    }

    /// Lets waits run out and the file reach the disk. Call when `nextDeadline` has come, and at least once per second.
    func advance(now: Instant) {
        assembler.advance(now: now)
        record(now: now)
        recorder.advance(now: now)
    }

    var nextDeadline: Instant { assembler.nextDeadline }

    /// The stream is over, or the recording is to end.
    ///
    /// - Returns: the last file's name; nil if nothing was recorded.
    @discardableResult
    func stop(now: Instant) -> String? {
        assembler.finish()
        record(now: now)
        return recorder.stop(now: now)
    }

    /// Lost packets, broken pictures and so on, by track.
    func counts(track: Int) -> AssemblyCounts { assembler.counts(track: track) }

    private func record(now: Instant) {
        while let frame = assembler.poll() { recorder.write(frame, now: now) }
        guard assembler.wantsKeyFrame || recorder.wantsKeyFrame, now >= nextRequest else { return }
        nextRequest = now + Self.requestInterval
        requestKeyFrame()
    }
}
