import DTLS
import ICE
import Synchronization
import Wire

/// All clients of a load on their media threads.
package final class LoadMedia: Sendable {
    /// After the last measured packet was sent: what comes later counts as lost.
    private static let settling = Duration.milliseconds(1500)

    private let plan: MediaPlan
    private let threads: [LoadThread]
    private let clocks: [StreamClock]
    private let certificate: DTLSCertificate
    private struct State {
        var nextID = 0
        var random: SeededRandom
        var windowBegan: ContinuousClock.Instant?
    }
    private let state: Mutex<State>

    package init(_ plan: MediaPlan) throws {
        self.plan = plan
        certificate = try .generate()
        let context = try DTLSContext(certificate: certificate, profiles: plan.profiles)
        clocks = (0..<max(1, plan.maxStreams)).map { _ in StreamClock() }
        state = Mutex(State(random: SeededRandom(seed: plan.seed)))
        var made: [LoadThread] = []
        for index in 0..<max(1, plan.threads) {
            made.append(try LoadThread(index: index, plan: plan, clocks: clocks, context: context))
        }
        threads = made
        for thread in made { try thread.start() }
    }

    package func makePublisher(stream: Int) -> LoadPeer { make(stream: stream, isPublisher: true, isMeasured: false) }

    /// - Parameter isMeasured: whether the player counts in windows that begin after it was ready.
    package func makePlayer(stream: Int, isMeasured: Bool) -> LoadPeer {
        make(stream: stream, isPublisher: false, isMeasured: isMeasured)
    }

    private func make(stream: Int, isPublisher: Bool, isMeasured: Bool) -> LoadPeer {
        precondition(clocks.indices.contains(stream), "a stream of the plan")
        let (id, credentials, sources) = state.withLock { state in
            state.nextID += 1
            let sources = ClientSDP.Sources(
                video: state.random.nextWord() | 1, rtx: state.random.nextWord() | 1, audio: state.random.nextWord() | 1
            )
            return (state.nextID, ICECredentials.random(using: &state.random), sources)
        }
        let offer = ClientSDP.offer(
            plan: plan, credentials: credentials, fingerprint: certificate.fingerprintSHA256,
            sources: isPublisher ? sources : nil)
        return LoadPeer(
            id: id, stream: stream, isPublisher: isPublisher, isMeasured: isMeasured, credentials: credentials,
            sources: sources, offer: offer, thread: threads[id % threads.count])
    }

    // MARK: - Windows

    /// What is sent from now on counts, for players that are ready.
    package func beginWindow() async {
        for thread in threads { await withCheckedContinuation { thread.post(.clear($0)) } }
        for thread in threads { await withCheckedContinuation { thread.post(.begin($0)) } }
        state.withLock { $0.windowBegan = .now }
    }

    /// What is sent from now on counts no longer; returns when what was sent before has had time to arrive.
    package func endWindow() async -> MediaWindow {
        for thread in threads { await withCheckedContinuation { thread.post(.end($0)) } }
        let took = state.withLock { $0.windowBegan.map { ContinuousClock.now - $0 } } ?? .zero
        try? await Task.sleep(for: Self.settling)
        var all: [LoadThread.ThreadWindow] = []
        for thread in threads { all.append(await withCheckedContinuation { thread.post(.collect($0)) }) }
        let players = all.flatMap(\.players)
        var video = DelayHistogram()
        var audio = DelayHistogram()
        for window in all {
            video.add(window.videoDelay)
            audio.add(window.audioDelay)
        }
        let sent = clocks.reduce(0) {
            $0 + $1.video.windowPackets.load(ordering: .relaxed) + $1.audio.windowPackets.load(ordering: .relaxed)
        }
        func sum(_ value: (LoadThread.ThreadWindow) -> Int) -> Int { all.reduce(0) { $0 + value($1) } }
        let expected = players.reduce(0) { $0 + $1.expected }
        return MediaWindow(
            seconds: took / .seconds(1), players: players.count, packetsSent: sent, packetsExpected: expected,
            packetsDelivered: players.reduce(0) { $0 + $1.delivered },
            packetsLost: players.reduce(0) { $0 + max(0, $1.expected - $1.delivered) },
            sequenceGaps: sum(\.sequenceGaps), duplicates: sum(\.duplicates), injectedLosses: sum(\.injectedLosses),
            nacks: sum(\.nacks), recovered: sum(\.recovered), authenticationFailures: sum(\.authenticationFailures),
            keyFramesSent: clocks.reduce(0) { $0 + $1.video.windowKeyFrames.load(ordering: .relaxed) },
            receiveBufferDrops: sum(\.receiveBufferDrops), unmarkedPlayers: sum(\.unmarkedPlayers),
            lossOfPlayers: players.map {
                $0.expected > 0 ? Double(max(0, $0.expected - $0.delivered)) / Double($0.expected) : 0
            },
            videoDelay: video.summary, audioDelay: audio.summary,
            generatorCPUSeconds: Double(all.reduce(0) { $0 + $1.cpuNanoseconds }) / 1e9)
    }

    /// Closes all clients and ends the threads. Nothing may be asked of this object afterwards.
    package func stop() {
        for thread in threads { thread.post(.stop) }
        for thread in threads { thread.join() }
    }
}
