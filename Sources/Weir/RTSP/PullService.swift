import ControlPlane
import HTTPServer
import Logging
import NIOSSL
import RTSP
import RTSPPull
import Synchronization
import WeirMetrics
import Wire

/// Cameras and other servers as streams: `rtsp://…` and URLs of other schemes that are allowed, for whoever plays such a
/// name, the sources of the configuration under names of their own, and those that the operator begins (`rtsp/startup`).
package final class PullService: OnDemandSources {
    private struct State {
        /// Those that are pulled, or are about to be.
        var live: [ObjectIdentifier: PulledSource] = [:]
        /// Of `rtsp/startup`: what keeps the source without viewers.
        var started: [String: StreamHold?] = [:]
        var control: ControlPlane?
    }

    private let configuration: Configuration.Pull
    private let named: [String: Configuration.Pull.Source]
    private let counters = RTSPPullCounters()
    private let state = Mutex(State())
    private let desk: PulledSource.Desk

    /// - Throws: `ServerError`, naming what to change.
    package init(
        _ configuration: Configuration.Pull, media: EngineMediaBackend, metrics: MetricsRegistry, logger: Logger
    ) throws(ServerError) {
        self.configuration = configuration
        named = Dictionary(configuration.sources.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let settings = configuration.puller(counters)
        var tls = TLSConfiguration.makeClientConfiguration()
        if !configuration.tlsVerify { tls.certificateVerification = .none }
        let context: NIOSSLContext
        do {
            context = try NIOSSLContext(configuration: tls)
        } catch {
            throw ServerError("rtsp.pull: no TLS: \(error); set rtsp.pull.enabled to false")
        }
        let box = SourceBox()
        desk = PulledSource.Desk(
            settings: settings, tlsContext: context, keepViewers: .nanoseconds(configuration.keepViewers.nanoseconds),
            linger: .nanoseconds(configuration.linger.nanoseconds), openingLimit: configuration.openingLimit,
            media: media, admit: { box.service?.add($0) ?? false }, dismiss: { box.service?.remove($0) },
            failures: PullFailures(for: settings.policy.patient), log: PullLog(metrics: metrics, logger: logger))
        box.set(self)
        collect(metrics)
    }

    /// The control plane, which is made after its sources.
    package func attach(_ control: ControlPlane) { state.withLock { $0.control = control } }

    private func collect(_ metrics: MetricsRegistry) {
        let counters = counters
        metrics.collect { [weak self] in
            let live = self?.live ?? []
            let playing = live.count { $0.status == .playing }
            return [
                Sample(
                    name: "weir_rtsp_pull_sources", help: "RTSP sources that are pulled", kind: .gauge,
                    value: Double(live.count)),
                Sample(
                    name: "weir_rtsp_pull_playing", help: "RTSP sources whose media flows", kind: .gauge,
                    value: Double(playing)),
                Sample(
                    name: "weir_rtsp_pull_attempts_total", help: "Attempts to pull an RTSP source", kind: .counter,
                    value: Double(counters.attempts)),
                Sample(
                    name: "weir_rtsp_pull_strangers_total",
                    help: "Datagrams at ports of pulled sources that came from other addresses", kind: .counter,
                    value: Double(counters.strangers)),
            ]
        }
    }

    private var live: [PulledSource] { state.withLock { Array($0.live.values) } }

    private func add(_ source: PulledSource) -> Bool {
        state.withLock { state in
            guard state.live.count < configuration.max else { return false }
            if source.isProcess, state.live.values.count(where: \.isProcess) >= configuration.maxProcesses {
                return false
            }
            state.live[ObjectIdentifier(source)] = source
            return true
        }
    }

    private func remove(_ source: PulledSource) { state.withLock { $0.live[ObjectIdentifier(source)] = nil } }

    // MARK: OnDemandSources

    package func source(for name: String) -> (any OnDemandSource)? {
        guard let url = url(of: name) else { return nil }
        return PulledSource(name: name, url: url, desk: desk)
    }

    package func isReserved(_ name: String) -> Bool { named[name] != nil }

    private func url(of name: String) -> String? {
        if let source = named[name] { return source.url }
        guard let scheme = PullTarget.scheme(of: name), configuration.schemes.contains(scheme) else { return nil }
        return name
    }

    // MARK: Sources that are always there

    /// Keeps them, until the task is cancelled.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            for source in configuration.sources where source.mode == .always {
                group.addTask { await self.keep(source) }
            }
        }
    }

    private func keep(_ source: Configuration.Pull.Source) async {
        guard let control = state.withLock({ $0.control }) else { return }
        var policy = PullPolicy(settings: desk.settings.policy, seed: .random(in: .min ... .max))
        while !Task.isCancelled {
            var failure = desk.failures.recent(of: source.url) ?? .connectionLost
            var playedFor: Interval?
            let begun = Instant.now
            do throws(StreamRefusal) {
                let hold = try await control.hold(source.name)
                // A task that is cancelled waits no longer.
                await hold.ended()
                playedFor = Instant.now - begun
                hold.release()
            } catch {
                failure = desk.failures.recent(of: source.url) ?? .connect(error.info)
            }
            // What is hopeless today may be mended without us (an address that a name stands for).
            let wait = policy.wait(after: failure, playedFor: playedFor) ?? desk.settings.policy.longest
            do { try await Task.sleep(for: .nanoseconds(wait.nanoseconds)) } catch { return }
        }
    }
}

// MARK: - The operator

extension PullService: StreamPulls {
    /// What the operator began is there at once, before its source is.
    private var agents: [(url: String, status: PulledSource.Status)] {
        let (live, started) = state.withLock { (Array($0.live.values), Array($0.started.keys)) }
        let urls = Set(live.map(\.url))
        return live.map { ($0.url, $0.status) } + started.filter { !urls.contains($0) }.map { ($0, .pending) }
    }

    package var all: [PullAgent] {
        agents.map { PullAgent(uri: StreamName.shown($0.url), status: $0.status.rawValue) }
            .sorted { ($0.uri, $0.status) < ($1.uri, $1.status) }
    }

    package func find(_ uri: String) -> [PullAgent] {
        Self.matching(agents, uri, \.url).map { PullAgent(uri: StreamName.shown($0.url), status: $0.status.rawValue) }
    }

    /// By the URL itself, or by how it is shown.
    private static func matching<Element>(
        _ elements: [Element], _ uri: String, _ url: (Element) -> String
    ) -> [Element] {
        let exact = elements.filter { url($0) == uri }
        return exact.isEmpty ? elements.filter { StreamName.shown(url($0)) == uri } : exact
    }

    package func startup(_ uri: String) throws(PullRefusal) {
        guard let target = PullTarget(uri) else { throw .badURI }
        guard let scheme = PullTarget.scheme(of: uri), configuration.schemes.contains(scheme) else {
            throw .notAllowed
        }
        do { try desk.settings.hostGuard.check(target) } catch { throw .notAllowed }
        let control = state.withLock { state -> ControlPlane? in
            guard state.started[uri] == nil, !state.live.values.contains(where: { $0.url == uri }),
                let control = state.control
            else { return nil }
            state.started[uri] = .some(nil)
            return control
        }
        guard let control else { throw .exists }
        Task {
            if let hold = try? await control.hold(uri) {
                let isWanted = state.withLock { state in
                    guard state.started[uri] != nil else { return false }
                    state.started[uri] = hold
                    return true
                }
                if isWanted { await hold.ended() }
                hold.release()
            }
            state.withLock { $0.started[uri] = nil }
        }
    }

    package func terminate(_ uri: String) -> Bool {
        let (live, started) = state.withLock { state in
            let started = Self.matching(Array(state.started.keys), uri, \.self)
            for uri in started { state.started[uri] = nil }
            return (Self.matching(Array(state.live.values), uri, \.url), started)
        }
        for source in live { source.terminate() }
        return !live.isEmpty || !started.isEmpty
    }
}

/// Breaks the circle between the service and what its sources call it by.
private final class SourceBox: Sendable {
    private struct Reference: Sendable {
        weak var service: PullService?
    }

    private let reference = Mutex(Reference())

    var service: PullService? { reference.withLock { $0.service } }
    func set(_ service: PullService) { reference.withLock { $0.service = service } }
}

extension Configuration.Pull {
    /// From a viewer's wish to the first media or to the reason why there is none.
    package var openingLimit: Duration {
        let perTransport = 3 * responseTimeout.nanoseconds + mediaTimeout.nanoseconds
        return .nanoseconds(transport == .udpThenTCP ? 2 * perTransport : perTransport)
    }
}
