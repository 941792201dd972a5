import ICE
import LinuxNet
import Synchronization
import Wire

/// One client of the load as the control side sees it: an offer, then an answer, then ready or failed. The media
/// thread that owns its sockets does the rest.
package final class LoadPeer: Sendable {
    package let offer: String
    let id: Int
    let stream: Int
    let isPublisher: Bool
    let isMeasured: Bool
    let credentials: ICECredentials
    let sources: ClientSDP.Sources
    private let thread: LoadThread
    private let outcome = Mutex(Outcome.open(waiting: []))

    private enum Outcome {
        case open(waiting: [CheckedContinuation<JoinTimes, any Error>])
        case ready(JoinTimes)
        case failed(LoadError)
    }

    init(
        id: Int, stream: Int, isPublisher: Bool, isMeasured: Bool, credentials: ICECredentials,
        sources: ClientSDP.Sources, offer: String, thread: LoadThread
    ) {
        self.id = id
        self.stream = stream
        self.isPublisher = isPublisher
        self.isMeasured = isMeasured
        self.credentials = credentials
        self.sources = sources
        self.offer = offer
        self.thread = thread
    }

    /// Begins ICE with what the answer names.
    /// - Parameter timeout: until the peer is ready; then `waitUntilReady` throws `timedOut`.
    package func accept(answer: String, timeout: Duration = .seconds(15)) throws(LoadError) {
        let read = try ClientSDP.read(answer: answer)
        let (seconds, attoseconds) = timeout.components
        let limit = Interval.nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
        thread.post(.connect(self, read, deadline: .now + limit))
    }

    /// Publishers: keys are agreed and media flows. Players: the first key frame is there.
    package func waitUntilReady() async throws -> JoinTimes {
        try await withCheckedThrowingContinuation { continuation in
            let known: Result<JoinTimes, any Error>? = outcome.withLock { outcome in
                switch outcome {
                case .open(let waiting):
                    outcome = .open(waiting: waiting + [continuation])
                    return nil
                case .ready(let times): return .success(times)
                case .failed(let error): return .failure(error)
                }
            }
            if let known { continuation.resume(with: known) }
        }
    }

    /// Why the peer ended, if it has ended by itself.
    package var failure: LoadError? {
        outcome.withLock { if case .failed(let error) = $0 { error } else { nil } }
    }

    /// Says goodbye by DTLS and closes the socket.
    package func close() { thread.post(.close(id: id)) }

    // MARK: - From the media thread

    func becameReady(_ times: JoinTimes) { settle(.ready(times), .success(times)) }
    /// Also after it was ready.
    func failed(_ error: LoadError) { settle(.failed(error), .failure(error)) }

    /// Closed before it was ready: nobody need wait any longer.
    func wasClosed() {
        let waiting = outcome.withLock { outcome in
            guard case .open(let waiting) = outcome else { return [] as [CheckedContinuation<JoinTimes, any Error>] }
            outcome = .failed(.ended("closed before it was ready"))
            return waiting
        }
        for continuation in waiting { continuation.resume(throwing: LoadError.ended("closed before it was ready")) }
    }

    private func settle(_ new: Outcome, _ result: Result<JoinTimes, any Error>) {
        let waiting = outcome.withLock { outcome in
            defer { outcome = new }
            if case .open(let waiting) = outcome { return waiting }
            return []
        }
        for continuation in waiting { continuation.resume(with: result) }
    }
}
