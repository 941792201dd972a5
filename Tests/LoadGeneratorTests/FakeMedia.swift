import FoundationEssentials
import LoadGenerator
import Synchronization
import TestSupport

/// A media side without media: clients are ready at once, or fail as the test says.
final class FakeMedia: MediaSource {
    struct Failure: Error, CustomStringConvertible { let description: String }

    struct State {
        var made = 0
        var playing = 0
        var measured = 0
        var mostPlaying = 0
        var closed = 0
        var windows = 0
        var isStopped = false
    }

    final class Client: MediaClient {
        let offer: String
        let isPublisher: Bool
        private let isMeasured: Bool
        private let media: FakeMedia
        private let isOpen = Mutex(false)
        private let wasClosed = Mutex(false)
        private let waiting = Mutex<CheckedContinuation<Void, Never>?>(nil)

        init(_ media: FakeMedia, offer: String, isPublisher: Bool, isMeasured: Bool) {
            self.media = media
            self.offer = offer
            self.isPublisher = isPublisher
            self.isMeasured = isMeasured
        }

        func connect(answer: String, timeout: Duration) throws {
            if answer != "answer" { throw Failure(description: "bad answer \(answer)") }
        }

        func stages() async throws -> JoinStages {
            if media.hangs, !isPublisher {
                await withCheckedContinuation { continuation in
                    if wasClosed.withLock(\.self) {
                        continuation.resume()
                    } else {
                        waiting.withLock { $0 = continuation }
                    }
                }
                throw Failure(description: "closed")
            }
            isOpen.withLock { $0 = true }
            if !isPublisher {
                media.state.withLock { state in
                    state.playing += 1
                    if isMeasured { state.measured += 1 }
                    state.mostPlaying = max(state.mostPlaying, state.playing)
                }
            }
            return JoinStages(ice: 1, dtls: 2, media: 3)
        }

        var endReason: String? { media.ends && !isPublisher ? "the server fell silent" : nil }

        func close() {
            wasClosed.withLock { $0 = true }
            let wait = waiting.withLock { waiting in
                defer { waiting = nil }
                return waiting
            }
            wait?.resume()
            let wasOpen = isOpen.withLock { isOpen in
                defer { isOpen = false }
                return isOpen
            }
            media.state.withLock { state in
                state.closed += 1
                if wasOpen, !isPublisher {
                    state.playing -= 1
                    if isMeasured { state.measured -= 1 }
                }
            }
        }
    }

    let state = Mutex(State())
    var isAllGone: Bool { state.withLock { $0.closed >= $0.made && $0.playing == 0 && $0.isStopped } }
    var mostPlaying: Int { state.withLock(\.mostPlaying) }
    let hangs: Bool
    let ends: Bool
    let window: @Sendable (Int) -> MediaWindow

    /// - Parameters:
    ///   - hangs: players never get media.
    ///   - ends: players have ended by themselves.
    ///   - window: what is measured, of the number of measured players that are there.
    init(
        hangs: Bool = false, ends: Bool = false,
        window: @escaping @Sendable (Int) -> MediaWindow = { .sample(players: $0) }
    ) {
        self.hangs = hangs
        self.ends = ends
        self.window = window
    }

    func makePublisher(stream: Int) throws -> Client { make("publish \(stream)", true, false) }
    func makePlayer(stream: Int, isMeasured: Bool) throws -> Client { make("play \(stream)", false, isMeasured) }

    private func make(_ offer: String, _ isPublisher: Bool, _ isMeasured: Bool) -> Client {
        state.withLock { $0.made += 1 }
        return Client(self, offer: offer, isPublisher: isPublisher, isMeasured: isMeasured)
    }

    func beginWindow() { state.withLock { $0.windows += 1 } }
    func endWindow() async -> MediaWindow { window(state.withLock(\.measured)) }
    func stop() { state.withLock { $0.isStopped = true } }
}

/// A server that answers at once, or when the test says.
final class FakeSignalling: Signalling {
    struct Refusal: Error, CustomStringConvertible { let description: String }

    struct State {
        var names: [String] = []
        var open = 0
        var mostAtOnce = 0
        var atOnce = 0
        var isClosed = false
        var lost = LostSessions()
    }

    let state = Watched(State())
    var requests: Int { state.value.names.count }
    var openSessions: Int { state.value.open }
    var mostAtOnce: Int { state.value.mostAtOnce }
    var isClosed: Bool { state.value.isClosed }
    /// Whether the n-th request (from 0) is refused.
    let refuses: @Sendable (Int) -> Bool
    /// How many requests are answered, in their order; the others wait until it grows.
    let answered: Watched<Int>
    /// This request and later ones are never answered.
    let hangsFrom: Int

    init(answered: Int = .max, hangsFrom: Int = .max, refuses: @escaping @Sendable (Int) -> Bool = { _ in false }) {
        self.answered = Watched(answered)
        self.hangsFrom = hangsFrom
        self.refuses = refuses
    }

    func publish(name: String, offer: String) async throws -> SignalledSession { try await answer("publish \(name)") }
    func play(name: String, offer: String) async throws -> SignalledSession { try await answer("play \(name)") }
    func close() async { state.update { $0.isClosed = true } }
    func serverVersion() async -> String? { "Fake 1" }
    var lostSessions: LostSessions { state.value.lost }

    /// Returns when so many requests have come.
    func wait(requests count: Int) async throws { try await state.wait { $0.names.count >= count } }

    private func answer(_ name: String) async throws -> SignalledSession {
        let number = state.update { state in
            state.names.append(name)
            state.atOnce += 1
            state.mostAtOnce = max(state.mostAtOnce, state.atOnce)
            return state.names.count - 1
        }
        defer { state.update { $0.atOnce -= 1 } }
        try await answered.wait { number < $0 }
        if number >= hangsFrom { try await Task.sleep(for: .seconds(3_600)) }
        if refuses(number) { throw Refusal(description: "refused") }
        state.update { $0.open += 1 }
        return SignalledSession(answer: "answer") { [self] in
            state.update { $0.open -= 1 }
        }
    }
}

extension MediaWindow {
    /// Known numbers: 10 s, 1,000 packets expected and 999 delivered for each player.
    static func sample(
        players: Int, p99: Double = 20, lost: Int = 1, drops: Int = 0, unmarked: Int = 0, busy: Double = 5
    ) -> MediaWindow {
        let delay = "{\"count\":100,\"p50\":2,\"p90\":8,\"p99\":\(p99),\"p999\":30,\"max\":40}"
        let text = """
            {"seconds":10,"players":\(players),"packetsSent":1000,"packetsExpected":\(players * 1_000),
            "packetsDelivered":\(players * (1_000 - lost)),"packetsLost":\(players * lost),"sequenceGaps":0,
            "duplicates":0,"injectedLosses":0,"nacks":0,"recovered":0,"authenticationFailures":0,"keyFramesSent":5,
            "receiveBufferDrops":\(drops),"unmarkedPlayers":\(unmarked),"lossOfPlayers":[\(Array(
                repeating: "\(Double(lost) / 1_000)", count: players)
                .joined(separator: ","))],"videoDelay":\(delay),"audioDelay":\(delay),"generatorCPUSeconds":\(busy)}
            """
        do {
            return try JSONDecoder().decode(MediaWindow.self, from: Data(text.utf8))
        } catch {
            preconditionFailure("the sample must be a window: \(error)")
        }
    }
}
