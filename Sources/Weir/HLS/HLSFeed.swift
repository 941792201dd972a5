import HLS
import LinuxNet
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTaps
import RTP
import Synchronization
import Wire

/// Carries the frames of one published stream into its HLS output, through a transcoder where its codecs need one.
///
/// Frames come on the reader's thread. Without a transcoder they are cut and written there: some microseconds each.
final class HLSFeed: FrameConsumer {
    /// The engine merges requests; this spares its mailbox.
    private static let requestInterval = Interval.milliseconds(200)

    private let tap: FrameTap
    /// By published track: where its frames go.
    private let targets: [[Int]]
    private let transcoder: StreamTranscoder?
    private let pump: HLSPump
    private let ending: @Sendable () -> Void
    /// Of the reader's thread.
    nonisolated(unsafe) private var lastRequest = Instant.zero

    /// - Parameter ending: called once, when the transcoder has done its last.
    init(
        tap: FrameTap, targets: [[Int]], transcoder: StreamTranscoder?, pump: HLSPump,
        ending: @escaping @Sendable () -> Void
    ) {
        self.tap = tap
        self.targets = targets
        self.transcoder = transcoder
        self.pump = pump
        self.ending = ending
    }

    func handle(_ frame: MediaFrame) {
        guard let transcoder else { return pump.handle(frame, now: .now) }
        guard targets.indices.contains(frame.track) else { return }
        for target in targets[frame.track] {
            var copy = frame
            copy.track = target
            transcoder.add(copy)
        }
        let now = Instant.now
        if transcoder.wantsKeyFrame, now - lastRequest >= Self.requestInterval {
            lastRequest = now
            tap.requestKeyFrame()
        }
    }

    func handle(_ report: PlacedReport) {
        guard let ntp = Int64(exactly: report.ntp.unixNanoseconds) else { return }
        pump.handleReport(ntp: ntp, at: report.time, age: Instant.now - report.arrival)
    }

    func ended() {
        let (pump, ending) = (pump, ending)
        guard let transcoder else {
            pump.ended(now: .now)
            return ending()
        }
        transcoder.finish {
            pump.ended(now: .now)
            ending()
        }
    }
}

/// For a stream that has no output after all: its tap ends at once.
final class NoFeed: FrameConsumer {
    func handle(_ frame: MediaFrame) {}
    func ended() {}
}

/// Where a transcoder finds the pump, which is made of the tracks that the transcoder gives.
final class HLSPumpBox: Sendable {
    private let pump = Mutex<HLSPump?>(nil)

    func set(_ new: HLSPump) { pump.withLock { $0 = new } }

    func handle(_ frame: MediaFrame) { pump.withLock { $0 }?.handle(frame, now: .now) }
}
