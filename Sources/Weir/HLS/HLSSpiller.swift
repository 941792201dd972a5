import ControlPlane
import Dispatch
import HLS
import Logging
import Synchronization
import Wire

/// Writes segments for which memory has no room to disk, on a thread of its own.
final class HLSSpiller: Sendable {
    private let directory: String
    private let logger: Logger
    private let queue = DispatchQueue(label: "weir.hls.spill", qos: .utility)
    private let isBusy = Atomic<Bool>(false)
    /// Of the queue.
    nonisolated(unsafe) private var store: SpillStore

    init(directory: String, logger: Logger) {
        self.directory = directory
        self.logger = logger
        store = SpillStore(directory: directory)
    }

    /// Begins to write what is due, unless it is still at it: a slow disk delays nobody.
    func look(at streams: [HLSStream], now: Instant) {
        let due = streams.filter { $0.nextToSpill(now: now) != nil }
        guard !due.isEmpty, !isBusy.exchange(true, ordering: .acquiring) else { return }
        queue.async { [self] in
            for stream in due { spill(stream, now: now) }
            isBusy.store(false, ordering: .releasing)
        }
    }

    private func spill(_ stream: HLSStream, now: Instant) {
        while let segment = stream.nextToSpill(now: now) {
            do throws(SpillFile.Failure) {
                var written: [FileBytes?] = []
                for media in segment.media {
                    guard case .memory(let pieces)? = media else {
                        written.append(nil)
                        continue
                    }
                    written.append(try store.store(pieces))
                }
                stream.spilled(segment.number, to: written)
            } catch {
                // Memory stays within its limit: the window ends there from now on.
                stream.cannotSpill()
                logger.error(
                    "HLS segments cannot be written: viewers can go back only as far as memory reaches",
                    metadata: [
                        "stream": .string(StreamName.shown(stream.name)), "hls.dvr_directory": .string(directory),
                        "error": "\(error)",
                    ])
                return
            }
        }
    }
}
