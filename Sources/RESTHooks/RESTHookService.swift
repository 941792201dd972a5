import ControlPlane
import Logging
import Synchronization
import WeirJSON
import WeirMetrics

/// The hooks of all applications.
package final class RESTHookService: BackendHooks {
    package let applications: Applications
    private let settings: HookSettings
    /// Of `settings`, changeable.
    private let secretKey: Mutex<String>
    private let transport: any HookTransport
    private let metrics: MetricsRegistry
    private let timers: Timers
    private let logger: Logger
    private let rooms: RoomApplication
    /// Of the applications as they are now. Sessions keep theirs when an application changes.
    private let backends = Mutex<[String: ApplicationBackend]>([:])

    package init(
        applications: Applications, settings: HookSettings, transport: any HookTransport, metrics: MetricsRegistry,
        logger: Logger, clock: any Clock<Duration> = ContinuousClock()
    ) {
        self.applications = applications
        self.settings = settings
        secretKey = Mutex(settings.secretKey)
        self.transport = transport
        self.metrics = metrics
        self.logger = logger
        timers = Timers(clock)
        rooms = RoomApplication()
        metrics.collect { [weak self] in
            self?.backends.withLock { Array($0.values) }.map { backend in
                Sample(
                    name: "weir_hooks_waiting_events", help: "Events that wait for the backend or are on their way",
                    kind: .gauge, labels: [("app", backend.application.key)], value: Double(backend.backlog.count))
            } ?? []
        }
    }

    package func connect(_ session: SessionFacts, _ request: ConnectRequest) async -> ConnectDecision {
        guard let application = applications.find(session.appKey) else { return .unknownApplication }
        switch application.backend {
        case .room: return allow(rooms.member(custom: request.custom), request)
        case .url where settings.isEnabled: return await connect(session, request, backend(of: application))
        case .echo, .url: return allow(OpenHooks(), request)
        }
    }

    package func play(_ viewer: ViewerRequest) async -> HookDecision {
        guard let application = applications.find(viewer.appKey) else {
            let error = SignallingError.unknownApplication(viewer.appKey)
            return .refuse(code: error.code.rawValue, reason: error.info)
        }
        guard case .url = application.backend, settings.isEnabled else { return .allow }
        let config = application.defaultRESTClientConfig.config(viewer.method)
        guard !config.isDisabled, let name = application.attachedName(viewer.method) else { return .allow }
        let backend = backend(of: application)
        let excluded = config.restExclude ?? []
        let members = HookBody.viewer(viewer).filter { !excluded.contains($0.name) }
        let result = await call(
            backend, viewer.method, name,
            RemoteSession.context(nodeId: settings.nodeId, appKey: viewer.appKey, sessionId: viewer.sessionId) + members
        )
        guard case .failure(let failure) = result else { return .allow }
        return .refuse(code: failure.clientCode, reason: failure.clientReason)
    }

    package func drain() async {
        // What waits for a backend that is down would wait for ever.
        for backend in backends.withLock({ Array($0.values) }) where backend.isUp {
            await backend.backlog.waitUntilEmpty()
        }
    }

    /// Signs from now on the hooks of new sessions whose application has no credentials of its own; empty: nothing does.
    package func setSecretKey(_ key: String) { secretKey.withLock { $0 = key } }

    private func backend(of application: Application) -> ApplicationBackend {
        var settings = settings
        settings.secretKey = secretKey.withLock { $0 }
        return backends.withLock { backends in
            if let known = backends[application.key], known.application == application,
                known.settings.secretKey == settings.secretKey
            {
                return known
            }
            let made = ApplicationBackend(
                application, settings: settings, transport: transport, timers: timers,
                metrics: HookMetrics(metrics, app: application.key), logger: logger)
            backends[application.key] = made
            return made
        }
    }

    // MARK: Connect

    private func allow(_ hooks: any SessionHooks, _ request: ConnectRequest) -> ConnectDecision {
        .allow(Admission(hooks: hooks, profile: request.profile, custom: request.custom))
    }

    private func connect(
        _ session: SessionFacts, _ request: ConnectRequest, _ backend: ApplicationBackend
    ) async -> ConnectDecision {
        let application = backend.application
        let defaults = application.defaultRESTClientConfig
        let config = defaults.config(.connect)
        let profile = Self.profile(request)
        guard !config.isDisabled, let name = application.attachedName(.connect) else {
            return admit(session, backend, defaults, profile)
        }
        let excluded = config.restExclude ?? []
        let members = profile.filter { !Self.ours.contains($0.name) && !excluded.contains($0.name) }
        let context = RemoteSession.context(nodeId: settings.nodeId, appKey: session.appKey, sessionId: session.id)
        do throws(HookFailure) {
            let answer = try await call(backend, .connect, name, context + members).get()
            return admit(
                session, backend, try Self.config(of: answer, over: defaults),
                ConnectAnswer.merge(answer, into: profile))
        } catch {
            // The one method whose errors decline by default: its own answer is what could say otherwise.
            guard config.restOnError != .log else {
                let hooks = RemoteSession(session, backend: backend, config: defaults, profile: profile, logger: logger)
                hooks.ignore(.connect, error)
                return allow(hooks, request)
            }
            logger.info(
                "hooks: a connection was not allowed", metadata: ["app": "\(session.appKey)", "error": "\(error)"])
            tellOfRefusal(session, backend, profile, error)
            return .refuse(code: error.clientCode, reason: error.clientReason)
        }
    }

    private func admit(
        _ session: SessionFacts, _ backend: ApplicationBackend, _ config: RESTClientConfig, _ profile: [JSONMember]
    ) -> ConnectDecision {
        let hooks = RemoteSession(session, backend: backend, config: config, profile: profile, logger: logger)
        let custom = JSONValue.object(profile)["custom"].map { JSONText($0.serialized) }
        return .allow(
            Admission(hooks: hooks, profile: JSONText(JSONValue.object(profile).serialized), custom: custom))
    }

    /// A backend that was asked hears how that went (signalling 2.3).
    private func tellOfRefusal(
        _ session: SessionFacts, _ backend: ApplicationBackend, _ profile: [JSONMember], _ failure: HookFailure
    ) {
        guard failure != .circuitOpen else { return }
        let hooks = RemoteSession(
            session, backend: backend, config: backend.application.defaultRESTClientConfig, profile: profile,
            logger: logger)
        hooks.tell(.connectionFailed(info: failure.clientReason))
        hooks.tell(.disconnected(.terminated))
        hooks.finish()
    }

    private func call(
        _ backend: ApplicationBackend, _ method: HookMethod, _ name: String, _ members: [JSONMember]
    ) async -> Result<[JSONMember], HookFailure> {
        let deadline = timers.now + settings.timeout
        do throws(HookFailure) {
            let grant = try await backend.grantForCall(until: deadline)
            return await backend.send(grant, method, as: name, members, timeout: deadline - timers.now)
        } catch {
            backend.metrics.count(method, error.label)
            return .failure(error)
        }
    }

    /// Members of the connection object that are not the client's to say, or are its secrets towards us.
    private static let ours: Set<String> = ["nodeId", "sessionId", "appKey", "authToken", "restClientConfig"]

    private static func profile(_ request: ConnectRequest) -> [JSONMember] {
        if let text = request.profile?.text, case .object(let members)? = try? JSONParser.parse(Array(text.utf8)) {
            return members
        }
        return request.custom.map { [JSONMember("custom", .verbatim($0.text))] } ?? []
    }

    private static func config(
        of answer: [JSONMember], over defaults: RESTClientConfig
    ) throws(HookFailure) -> RESTClientConfig {
        guard let given = JSONValue.object(answer)["restClientConfig"], !given.isNull else { return defaults }
        do throws(RESTClientConfig.Malformed) {
            return defaults.overridden(by: try RESTClientConfig(given))
        } catch {
            throw .malformed(error.description)
        }
    }
}
