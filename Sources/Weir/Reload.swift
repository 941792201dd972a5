import ControlPlane
import HTTPServer
import Logging
import RESTHooks
import Tokens

/// What SIGHUP does: reads the configuration again and takes over what can change while the server runs, all of it or,
/// if anything is wrong, nothing. Keys that need a restart are named and stay as they were.
actor Reload {
    /// The parts that are told.
    struct Targets: Sendable {
        var control: ControlPlane
        var hooks: RESTHookService
        var tokens: TokenGate
        var http: HTTPService
        var connections: ConnectionBudget
        var log: LogSink
    }

    private let reread: @Sendable () throws -> Configuration
    private let targets: Targets
    private let logger: Logger
    /// What holds now.
    private var running: Configuration

    init(
        running: Configuration, targets: Targets, logger: Logger, reread: @escaping @Sendable () throws -> Configuration
    ) {
        self.running = running
        self.targets = targets
        self.logger = logger
        self.reread = reread
    }

    /// Until the end of the requests or of the task.
    func run(_ requests: AsyncStream<Void>) async {
        for await _ in requests { await reload() }
    }

    func reload() async {
        let wanted: Configuration
        let keys: TokenGate.Prepared
        do {
            wanted = try reread()
            // The steps that may fail come before all others; the last of them is the first that changes anything.
            keys = try await TokenGate.prepare(wanted.tokens.settings)
            try targets.hooks.applications.replaceConfigured(wanted.applications)
        } catch {
            logger.error(
                "The configuration has errors: nothing of it was taken over", metadata: ["error": .string("\(error)")])
            return
        }
        let changed = ConfigurationKey.all.filter { $0.write(running) != $0.write(wanted) }
        let areApplicationsNew = running.applications != wanted.applications
        apply(wanted, keys)
        let taken = changed.filter(\.isReloadable).map(\.path) + (areApplicationsNew ? [ApplicationForm.section] : [])
        logger.notice(
            "The configuration was read again",
            metadata: ["changed": .string(taken.isEmpty ? "nothing" : taken.joined(separator: " "))])
        let left = changed.filter { !$0.isReloadable }.map(\.path)
        guard !left.isEmpty else { return }
        logger.warning(
            "Some keys have changed that need a restart", metadata: ["keys": .string(left.joined(separator: " "))])
    }

    private func apply(_ wanted: Configuration, _ keys: TokenGate.Prepared) {
        running.applications = wanted.applications
        running.limits = wanted.limits
        running.log.level = wanted.log.level
        running.http.adminToken = wanted.http.adminToken
        running.hooks.secretKey = wanted.hooks.secretKey
        let checkInterval = running.tokens.checkInterval
        running.tokens = wanted.tokens
        running.tokens.checkInterval = checkInterval
        targets.control.replaceLimits(wanted.limits.control)
        targets.connections.setLimits(
            wanted.limits.connections, perAddress: wanted.limits.connectionsPerAddress)
        targets.log.level = wanted.log.level
        targets.http.setAdminToken(wanted.http.adminToken.isEmpty ? nil : wanted.http.adminToken)
        targets.hooks.setSecretKey(wanted.hooks.secretKey)
        targets.tokens.use(keys)
    }
}

extension ConfigurationKey {
    /// Whether SIGHUP is enough.
    package var isReloadable: Bool {
        switch section {
        case "limits": true
        case "tokens": name != "check_interval"
        default: ["log.level", "http.admin_token", "hooks.secret_key"].contains(path)
        }
    }
}

extension Configuration.Limits {
    var control: ControlConfiguration.Limits {
        .init(
            sessions: sessions, sessionsPerAddress: connectionsPerAddress, streams: streams, players: players,
            playersPerStream: playersPerStream, streamsPerSession: streamsPerSession, packetRate: packetRate, cpu: cpu)
    }
}
