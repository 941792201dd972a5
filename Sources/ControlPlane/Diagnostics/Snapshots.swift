import Synchronization

/// Makes pictures of published streams; the decoder behind it is not the control plane's affair.
package protocol SnapshotMaker: Sendable {
    /// The picture that the publisher shows now, as a PNG file. Takes as long as the next key frame does; its task is
    /// cancelled when nobody waits any more. As many run at once as `ControlConfiguration.snapshots` says.
    func snapshot(of publisher: PeerID, stream: String) async throws(SnapshotError) -> [UInt8]
}

/// Why there is no picture.
package enum SnapshotError: Error, Hashable, Sendable {
    /// Nothing is published under that name, or no more.
    case noStream
    /// The stream has no video.
    case noVideo
    /// The maker is too busy.
    case busy
    /// The reason is for people.
    case failed(String)
}

/// The answer to one request for a picture.
package enum SnapshotOutcome: Hashable, Sendable {
    case png([UInt8])
    /// Nothing is published under that name.
    case noStream
    /// The stream has no picture that could be decoded; the reason is for people.
    case failed(String)
    /// Too many are being made.
    case busy
    /// This server makes none.
    case notServed

    /// Text for the client; nil with a picture.
    var info: String? {
        switch self {
        case .png: nil
        case .noStream: StatusInfo.streamNotFound.rawValue
        case .failed(let reason): reason
        case .busy: "Too many snapshots are being made"
        case .notServed: "Snapshots are not available"
        }
    }

    /// Value of the metrics label `result`.
    var label: String {
        switch self {
        case .png: "made"
        case .noStream: "no_stream"
        case .failed: "failed"
        case .busy: "busy"
        case .notServed: "not_served"
        }
    }
}

/// Bounded places for work that costs memory or processor time. Whoever finds none does without.
final class Places: Sendable {
    private let free: Mutex<Int>

    init(_ count: Int) { free = Mutex(count) }

    /// Each success needs one `giveBack`.
    func take() -> Bool {
        free.withLock { free in
            guard free > 0 else { return false }
            free -= 1
            return true
        }
    }

    func giveBack() { free.withLock { $0 += 1 } }
}

extension ControlPlane {
    /// A picture of a published stream: for clients, for REST and for whoever else asks.
    package nonisolated func snapshot(of name: String) async -> SnapshotOutcome { await context.snapshot(of: name) }
}

extension ControlContext {
    func snapshot(of name: String) async -> SnapshotOutcome {
        let outcome = await makeSnapshot(of: name)
        metrics.countSnapshot(outcome.label)
        return outcome
    }

    private func makeSnapshot(of name: String) async -> SnapshotOutcome {
        guard let publisher = registry.livePublisher(of: name) else { return .noStream }
        guard let snapshots else { return .notServed }
        guard snapshotPlaces.take() else { return .busy }
        let places = snapshotPlaces
        // The place is free when the maker has ended, not when nobody waits for it any more.
        let made = await withDeadline(timers, configuration.snapshotTimeout) { () -> SnapshotOutcome in
            defer { places.giveBack() }
            do throws(SnapshotError) {
                return .png(try await snapshots.snapshot(of: publisher, stream: name))
            } catch {
                switch error {
                case .noStream: return .noStream
                case .noVideo: return .failed("The stream has no video")
                case .busy: return .busy
                case .failed(let reason): return .failed(reason)
                }
            }
        }
        switch made {
        case nil: return .failed("No picture came in time")
        case .png(let bytes)? where bytes.count > configuration.snapshotBytes:
            return .failed("The picture is too large")
        case let made?: return made
        }
    }
}
