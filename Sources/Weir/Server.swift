import ControlPlane
import Diagnostics
import FoundationEssentials
import Glibc
import HTTPServer
import LinuxNet
import Logging
import MediaEngine
import MediaTaps
import NIOSSL
import RESTHooks
import RTSPServer
import SRTP
import ServiceLifecycle
import Tokens
import WCS
import WeirMetrics
import Wire

/// The whole server: engine, control plane and adapters, started in order and ended in order.
package struct Server {
    private let configuration: Configuration
    private let log: LogSink
    private let logger: Logger
    private let reread: @Sendable () throws -> Configuration

    /// - Parameter reread: reads the configuration again (SIGHUP).
    package init(
        configuration: Configuration, log: LogSink, reread: @escaping @Sendable () throws -> Configuration
    ) {
        self.configuration = configuration
        self.reread = reread
        self.log = log
        logger = log.makeLogger()
    }

    /// Serves until SIGTERM or SIGINT. A second signal ends the process at once.
    /// - Throws: what keeps the server from starting, with address or file and remedy in its description.
    package func run() async throws {
        let started = ContinuousClock.now
        let stateDirectory = StateDirectory.path(configuration.state.dir, environment: processEnvironment())
        try StateDirectory.create(stateDirectory)
        raiseFileLimit()
        let tls = try TLSFiles(
            configuration.tls, stateDirectory: stateDirectory, clientAuthorities: configuration.http.adminClientCa,
            logger: logger)
        let metrics = MetricsRegistry()
        let tokens = TokenGate(try await tokenKeys(), metrics: metrics, logger: logger)
        tokens.logState()
        let announce = Self.announcedAddresses(configuration.media)
        guard !announce.isEmpty else {
            throw ServerError("no address to offer to peers: bring an interface up or set media.announce")
        }
        let media = try EngineMediaBackend(engine: try engineConfiguration(), announce: announce, metrics: metrics)
        logger.notice(
            "Media port open",
            metadata: [
                "port": .stringConvertible(media.engine.port),
                "addresses": .string(announce.map(\.ip).joined(separator: " ")),
                "srtp": .string(backend.rawValue), "workers": .stringConvertible(workerCount),
            ])
        let transport = HTTPHookTransport(timeout: .nanoseconds(configuration.hooks.timeout.nanoseconds))
        let nodeId = "\(Token.make())@\(announce[0].ip)"
        let hooks = try restHooks(
            stateDirectory: stateDirectory, nodeId: nodeId, transport: transport, metrics: metrics)
        let diagnostics = try diagnosticFolder(stateDirectory: stateDirectory, metrics: metrics)
        let reader = try FrameReader(engine: media.engine)
        media.variants.begin(configuration.rtsp.variants, reader: reader, metrics: metrics, logger: logger)
        let recordings = try recordingService(stateDirectory: stateDirectory, reader: reader, metrics: metrics)
        let hls =
            configuration.hls.enabled
            ? HLSOutput(configuration.hls, reader: reader, metrics: metrics, logger: logger) : nil
        let rtspSources = RTSPSourceIdentifiers()
        let rtsp =
            configuration.rtsp.enabled
            ? try RTSPOutput(engine: media.engine, sources: rtspSources, metrics: metrics) : nil
        let playback = try playbackService(stateDirectory: stateDirectory, media: media, metrics: metrics)
        let pulls = try pullService(media: media, metrics: metrics)
        let sources = SourceDirectory(kinds: [playback as (any OnDemandSources)?, pulls].compactMap { $0 })
        var observers: [any StreamObserver] = []
        if let hls { observers.append(hls) }
        if let rtsp { observers.append(rtsp) }
        let control = ControlPlane(
            media: media, hooks: hooks, rights: tokens, configuration: controlConfiguration(), metrics: metrics,
            logger: logger, diagnostics: diagnostics, snapshots: EngineSnapshots(reader: reader), recorder: recordings,
            sources: sources, observers: observers)
        pulls?.attach(control)
        hls?.attach(control)
        let connections = ConnectionBudget(
            limit: configuration.limits.connections, limitPerAddress: configuration.limits.connectionsPerAddress,
            proxies: TrustedProxies(configuration.proxies.trusted))
        let webSocket = WCSServer(
            configuration: webSocketConfiguration(connections), control: control, tlsContext: { tls.context },
            metrics: metrics,
            logger: logger)
        let logger = logger
        let http = HTTPService(
            configuration: httpConfiguration(connections, tls: tls), control: control,
            services: RESTServices(
                nodeId: nodeId, applications: hooks.applications,
                setSessionLogLevel: { [log] session, level in
                    log.setLevel(level.map { LogLevel($0) }, session: session)
                },
                process: { ProcessFigures.read(since: started) }, recordings: recordings.map(RecordingShelf.init),
                pulls: pulls),
            metrics: metrics,
            logLevel: LogLevelControl(
                get: { [log] in Logger.Level(log.level) }, set: { [log] in log.level = LogLevel($0) }),
            logger: logger, hls: hls.map { hlsService($0, control: control, tokens: tokens, tls: tls) }
        ) { address, secure in
            logger.notice(
                "HTTP open", metadata: ["address": .string(address.description), "tls": .stringConvertible(secure)])
        }
        let rtspService = rtsp.map {
            makeRTSPService(
                $0, control: control, media: media, connections: connections, sources: rtspSources, tls: tls,
                metrics: metrics)
        }
        var listeners: [any Service] = [webSocket]
        if let rtspService { listeners.append(rtspService) }
        let signals = SignalWatch()
        defer { signals.stop() }
        do {
            try await serve(
                media: media, recordings: recordings, hls: hls, rtsp: rtsp, pulls: pulls, control: control, http: http,
                listeners: listeners, tls: tls,
                tokens: tokens, signals: signals,
                reload: Reload(
                    running: configuration,
                    targets: .init(
                        control: control, hooks: hooks, tokens: tokens, http: http, connections: connections, log: log),
                    logger: logger, reread: reread))
        } catch {
            await recordings?.shutdown(until: signals.end(after: shutdownTimeout))
            playback?.stop()
            rtsp?.stop()
            reader.stop()
            media.stop()
            await transport.shutdown()
            await diagnostics?.shutdown()
            throw error
        }
        await recordings?.shutdown(until: signals.end(after: shutdownTimeout))
        playback?.stop()
        rtsp?.stop()
        reader.stop()
        media.stop()
        await transport.shutdown()
        await diagnostics?.shutdown()
    }

    private func diagnosticFolder(
        stateDirectory: String, metrics: MetricsRegistry
    ) throws(ServerError) -> DiagnosticFolder? {
        let wanted = configuration.diagnostics
        guard wanted.enabled else { return nil }
        var settings = DiagnosticSettings(
            folder: wanted.dir.isEmpty ? "\(stateDirectory)/diagnostics" : wanted.dir,
            server: BuildInfo.current.description)
        settings.maxFiles = wanted.maxFiles
        settings.maxBytes = wanted.maxSize
        settings.minFree = wanted.minFree
        settings.maxLogBytes = wanted.maxLog
        do throws(DiagnosticError) {
            return try DiagnosticFolder(settings, metrics: metrics, logger: logger)
        } catch {
            throw ServerError("diagnostics.dir: \(error); mend that or set diagnostics.enabled to false")
        }
    }

    private func recordingService(
        stateDirectory: String, reader: FrameReader, metrics: MetricsRegistry
    ) throws(ServerError) -> RecordingService? {
        guard configuration.recording.enabled else { return nil }
        return try RecordingService(
            configuration.recording, stateDirectory: stateDirectory, reader: reader, metrics: metrics, logger: logger)
    }

    private func playbackService(
        stateDirectory: String, media: EngineMediaBackend, metrics: MetricsRegistry
    ) throws(ServerError) -> PlaybackService? {
        guard configuration.vod.enabled else { return nil }
        let records = configuration.vod.recordsFolder(configuration.recording, stateDirectory: stateDirectory)
        return try PlaybackService(
            configuration.vod, stateDirectory: stateDirectory, records: records, media: media, metrics: metrics,
            logger: logger)
    }

    private func pullService(
        media: EngineMediaBackend, metrics: MetricsRegistry
    ) throws(ServerError) -> PullService? {
        guard configuration.rtspPull.enabled else { return nil }
        return try PullService(configuration.rtspPull, media: media, metrics: metrics, logger: logger)
    }

    private var shutdownTimeout: Duration { .nanoseconds(configuration.shutdown.timeout.nanoseconds) }

    private func tokenKeys() async throws(ServerError) -> TokenGate.Prepared {
        do {
            return try await TokenGate.prepare(configuration.tokens.settings)
        } catch {
            throw ServerError("\(error)")
        }
    }

    private func restHooks(
        stateDirectory: String, nodeId: String, transport: HTTPHookTransport, metrics: MetricsRegistry
    ) throws -> RESTHookService {
        let applications: Applications
        do {
            applications = try Applications(
                configured: configuration.applications, builtIn: Set(configuration.hooks.builtIn),
                store: ApplicationFile(path: "\(stateDirectory)/applications.json"))
        } catch {
            throw ServerError("applications: \(error)")
        }
        let open = applications.open.map(\.key).filter { !configuration.tokens.decides(about: $0) }
        if open.count < applications.all.count, !open.isEmpty {
            logger.warning(
                "Some applications ask no backend, and every client may name them",
                metadata: ["applications": .string(open.joined(separator: " "))])
        }
        let settings = configuration.hooks
        return RESTHookService(
            applications: applications,
            settings: HookSettings(
                isEnabled: settings.enabled, nodeId: nodeId,
                timeout: .nanoseconds(settings.timeout.nanoseconds), concurrency: settings.concurrency,
                sessionQueue: settings.sessionQueue, backlog: settings.backlog, secretKey: settings.secretKey,
                keepAlive: .init(
                    isEnabled: settings.keepAlive, interval: .nanoseconds(settings.keepAliveInterval.nanoseconds),
                    applications: Set(settings.keepAliveApplications))),
            transport: transport, metrics: metrics, logger: logger)
    }

    private func serve(
        media: EngineMediaBackend, recordings: RecordingService?, hls: HLSOutput?, rtsp: RTSPOutput?,
        pulls: PullService?, control: ControlPlane, http: HTTPService, listeners: [any Service], tls: TLSFiles,
        tokens: TokenGate,
        signals: SignalWatch, reload: Reload
    ) async throws {
        let timeout = shutdownTimeout
        let checkInterval = configuration.tls.checkInterval
        let keyInterval = Duration.nanoseconds(configuration.tokens.checkInterval.nanoseconds)
        var services = ServiceGroupConfiguration(
            services: ([http] + listeners).map { .init(service: $0, failureTerminationBehavior: .cancelGroup) },
            logger: logger)
        // A client in the middle of a request, or deaf to the closing handshake, does not hold the end up.
        services.maximumGracefulShutdownDuration = timeout * 0.25
        let group = ServiceGroup(configuration: services)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await control.run() }
            tasks.addTask { await recordings?.run() }
            tasks.addTask { await hls?.run() }
            tasks.addTask { await rtsp?.run() }
            tasks.addTask { await pulls?.run() }
            tasks.addTask { await tls.watch(every: checkInterval) }
            tasks.addTask { await tokens.watch(every: keyInterval) }
            tasks.addTask { [logger] in await OverloadLog(logger).run(media.overloads) }
            tasks.addTask {
                await LoadMeter(packetsSent: { media.engine.counters.packetsSent.value }).run { control.noteLoad($0) }
            }
            tasks.addTask { await reload.run(signals.reloads) }
            tasks.addTask {
                guard await signals.first() else { return }
                logger.notice("Ending: no new sessions, every client is told")
                http.beginShutdown()
                recordings?.beginShutdown()
                // Sessions hear the end from the control plane while their sockets are still open.
                await control.shutdown(timeout: timeout * 0.7)
                hls?.beginShutdown()
                await group.triggerGracefulShutdown()
            }
            defer { tasks.cancelAll() }
            do {
                try await group.run()
            } catch  where signals.haveCome {
                logger.notice("Clients were cut off after shutdown.timeout", metadata: ["error": .string("\(error)")])
            }
        }
    }

    // MARK: - Configuration of the parts

    private var workerCount: Int {
        configuration.media.workers > 0 ? configuration.media.workers : Machine.usableCores
    }

    private var backend: SRTPBackendKind {
        SRTPBackendKind(rawValue: configuration.media.srtpBackend.rawValue) ?? .preferred
    }

    private func engineConfiguration() throws -> EngineConfiguration {
        let media = configuration.media
        var engine = EngineConfiguration(certificate: try DTLSFiles.certificate(media))
        engine.port = media.port
        engine.listen = media.listen
        engine.workers = workerCount
        engine.pinWorkers = media.pinWorkers
        engine.gso = media.gso
        engine.tcp = media.tcp
        let rtsp = configuration.rtsp
        engine.plainPort = rtsp.enabled && rtsp.udpPort > 0 ? rtsp.udpPort : nil
        engine.backend = backend
        engine.profiles = media.srtpProfiles
        engine.iceTimeout = configuration.ice.keepAliveTimeout
        engine.rtpTimeout = media.rtpTimeout
        engine.groupCache = media.groupCache
        engine.groupCachePackets = media.groupCachePackets
        engine.gatherLimit = media.gatherLimit
        engine.gatherMinPlayers = media.gatherMinPlayers
        engine.soundGatherLimit = media.soundGatherLimit
        engine.soundGatherMinPlayers = media.soundGatherMinPlayers
        engine.burstPackets = media.burstPackets
        engine.burstInterval = media.burstInterval
        engine.overloadDelay = media.overloadDelay
        engine.receiveBuffer = media.receiveBuffer
        engine.sendBuffer = media.sendBuffer
        engine.maxBitrate = media.maxBitrate
        engine.maxSlots = media.packetMemory / 2048
        engine.maxTCPQueue = media.tcpQueue
        engine.maxTCPConnections = media.tcpConnections
        engine.maxTCPConnectionsPerAddress = media.tcpConnectionsPerAddress
        return engine
    }

    /// Candidates: the configured ones, else those of the interfaces that the sockets cover. Loopback only when there
    /// is nothing else: a browser does not pair it with its own interface addresses.
    static func announcedAddresses(_ media: Configuration.Media) -> [SocketAddress] {
        guard media.announce.isEmpty else { return media.announce }
        let covered = InterfaceAddresses.all().filter { address in
            media.listen.contains { listen in
                listen.family == address.family && (listen.isUnspecified || listen.hasSameIP(as: address))
            }
        }
        let reachable = covered.filter { !$0.isLoopback }
        return reachable.isEmpty ? covered : reachable
    }

    private func controlConfiguration() -> ControlConfiguration {
        var control = ControlConfiguration(
            limits: configuration.limits.control,
            iceTimeout: .nanoseconds(configuration.ice.timeout.nanoseconds),
            dtlsTimeout: .nanoseconds(configuration.ice.timeout.nanoseconds),
            hookTimeout: hookTimeout + Self.hookSlack,
            rateEvents: configuration.features.videoRateEvents,
            reattachTime: .nanoseconds(configuration.websocket.reattachTime.nanoseconds))
        control.journalBytes = configuration.diagnostics.enabled ? configuration.diagnostics.journal : 0
        return control
    }

    private var hookTimeout: Duration { .nanoseconds(configuration.hooks.timeout.nanoseconds) }
    /// The hooks answer within their timeout; nobody gives them up just before.
    private static let hookSlack = Duration.seconds(2)
    /// What an answer to a WHIP offer may take beside the backend's.
    private static let mediaAnswerTime = Duration.seconds(10)

    private func webSocketConfiguration(_ connections: ConnectionBudget) -> WCSConfiguration {
        let settings = configuration.websocket
        var out = WCSConfiguration()
        out.listeners = [WCSListener(host: settings.listen.ip, port: Int(settings.port), secure: false)]
        if settings.tlsPort != 0 {
            out.listeners.append(WCSListener(host: settings.listen.ip, port: Int(settings.tlsPort), secure: true))
        }
        out.connections = connections
        out.trustedProxies = TrustedProxies(configuration.proxies.trusted)
        out.firstMessageTimeout = .nanoseconds(settings.connectTimeout.nanoseconds)
        out.keepAlive = .init(rawValue: settings.keepAlive.rawValue) ?? .text
        out.keepAliveInterval = .nanoseconds(settings.pingInterval.nanoseconds)
        out.keepAliveProbes = settings.pingProbes
        out.maxMessageBytes = settings.maxMessage
        out.maxQueuedMessages = settings.sendQueue
        out.shutdownTimeout = .nanoseconds(configuration.shutdown.timeout.nanoseconds) * 0.2
        if configuration.diagnostics.clientMetrics { out.metricsDescription = ClientMetricsDescription.json }
        return out
    }

    private func httpConfiguration(_ connections: ConnectionBudget, tls: TLSFiles) -> HTTPConfiguration {
        let settings = configuration.http
        var http = HTTPConfiguration(
            listeners: [HTTPListenAddress(host: settings.listen.ip, port: Int(settings.port))],
            tlsListeners: settings.tlsPort == 0
                ? [] : [HTTPListenAddress(host: settings.listen.ip, port: Int(settings.tlsPort))],
            tlsContext: { tls.httpContext }, asksForClientCertificates: !settings.adminClientCa.isEmpty,
            corsOrigins: settings.corsOrigins,
            iceServers: settings.iceServers.flatMap { server in
                server.urls.map { url in
                    HTTPServer.ICEServer(
                        url: url, username: server.username.isEmpty ? nil : server.username,
                        credential: server.credential.isEmpty ? nil : server.credential)
                }
            },
            bodyLimit: settings.maxBody, connections: connections,
            trustedProxies: TrustedProxies(configuration.proxies.trusted),
            idleTimeout: .nanoseconds(settings.idleTimeout.nanoseconds),
            answerTimeout: hookTimeout + Self.hookSlack + Self.mediaAnswerTime
                + (configuration.rtspPull.enabled ? configuration.rtspPull.openingLimit : .zero),
            admin: AdminSettings(
                token: settings.adminToken.isEmpty ? nil : settings.adminToken,
                trustsLoopback: settings.adminFromLoopback),
            publicStreamList: settings.publicStreamList)
        let rtsp = configuration.rtsp
        if rtsp.enabled {
            http.addresses = ServiceAddresses(
                rtspPort: rtsp.listeners.first.map { Int($0.port) },
                rtspTlsPort: rtsp.tlsListeners.first.map { Int($0.port) })
        }
        return http
    }

    private func hlsService(
        _ output: HLSOutput, control: ControlPlane, tokens: TokenGate, tls: TLSFiles
    ) -> HLSService {
        let settings = configuration.hls
        func listeners(_ port: UInt16) -> [HTTPListenAddress] {
            port == 0 ? [] : [HTTPListenAddress(host: configuration.http.listen.ip, port: Int(port))]
        }
        let asksBackend = settings.auth
        return HLSService(
            backend: HLSAccess(output, control: control, asksBackend: asksBackend), listeners: listeners(settings.port),
            tlsListeners: listeners(settings.tlsPort), tlsContext: { tls.http2Context },
            needsSession: { asksBackend || tokens.decides(about: .play) },
            sessionLifetime: .nanoseconds(settings.sessionLifetime.nanoseconds), corsOrigins: settings.corsOrigins)
    }

    private func makeRTSPService(
        _ output: RTSPOutput, control: ControlPlane, media: EngineMediaBackend, connections: ConnectionBudget,
        sources: RTSPSourceIdentifiers, tls: TLSFiles, metrics: MetricsRegistry
    ) -> RTSPService {
        var settings = configuration.rtsp.server(connections: connections, canPublish: true, hasDatagrams: true)
        settings.sources = sources
        settings.shutdownTimeout = shutdownTimeout * 0.2
        return RTSPService(
            configuration: settings,
            backend: EngineRTSPBackend(
                output: output, control: control, media: media,
                publishing: RTSPPublishers(control: control, media: media), datagrams: EngineDatagrams(media: media)),
            tlsContext: { tls.context }, metrics: metrics, logger: logger)
    }

    /// As many descriptors as the hard limit allows: every WebSocket and ICE-TCP client is one.
    private func raiseFileLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max
        else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}

package struct ServerError: Error, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}

extension Logger.Level {
    init(_ level: LogLevel) { self = Logger.Level(rawValue: level.name) ?? .info }
}

extension LogLevel {
    init(_ level: Logger.Level) { self = LogLevel(name: level.rawValue) ?? .info }
}
