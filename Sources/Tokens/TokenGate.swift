import ControlPlane
import Foundation
import Logging
import Synchronization
import WeirMetrics

/// The tokens of a running server: decides by what holds now, and takes over new keys and rules, all of them or none.
package final class TokenGate: StreamRights {
    /// Settings with the keys that belong to them: made by `prepare`, used by `use`.
    package struct Prepared: Sendable {
        package let settings: TokenSettings
        let verifier: TokenVerifier
        let mark: KeyFile.Mark?
        let skipped: Int
    }

    private struct State {
        var prepared: Prepared
        /// Of the file that was tried last, good or bad, so that a bad one is told of once.
        var mark: KeyFile.Mark?
    }

    private let state: Mutex<State>
    private let metrics: TokenMetrics
    private let logger: Logger
    private let now: @Sendable () -> Double

    /// - Parameter now: seconds since 1970.
    package init(
        _ prepared: Prepared, metrics: MetricsRegistry, logger: Logger,
        now: @escaping @Sendable () -> Double = { Date().timeIntervalSince1970 }
    ) {
        state = Mutex(State(prepared: prepared, mark: prepared.mark))
        self.metrics = TokenMetrics(metrics)
        self.logger = logger
        self.now = now
        self.metrics.keys.set(Double(prepared.verifier.keys.count))
    }

    /// Reads the keys of these settings. Nothing changes by that.
    package static func prepare(_ settings: TokenSettings) async throws(TokenKeysError) -> Prepared {
        var set: KeySet?
        var mark: KeyFile.Mark?
        if !settings.keyFile.isEmpty {
            // Before the text: a change between the two is noticed at the next look.
            mark = KeyFile.Mark(settings.keyFile)
            do {
                set = try KeySet(file: settings.keyFile)
            } catch {
                throw TokenKeysError("tokens.jwks_file \(settings.keyFile): \(error)")
            }
        }
        let keys: TokenKeys
        do {
            keys = try await TokenKeys.make(secrets: settings.secrets, keySet: set)
        } catch {
            throw TokenKeysError("tokens: \(error)")
        }
        return Prepared(
            settings: settings, verifier: TokenVerifier(keys: keys, rules: settings.rules), mark: mark,
            skipped: set?.skipped ?? 0)
    }

    /// From the next question on these hold.
    package func use(_ prepared: Prepared) {
        let wasEnabled = state.withLock { state in
            defer { state = State(prepared: prepared, mark: prepared.mark) }
            return state.prepared.settings.isEnabled
        }
        metrics.keys.set(Double(prepared.verifier.keys.count))
        metrics.countRead(ok: true)
        if prepared.settings.isEnabled {
            logState("Keys of tokens read again")
        } else if wasEnabled {
            logger.warning("Tokens decide no more: there is no key")
        }
    }

    /// Says what holds, without any secret.
    package func logState(_ message: Logger.Message = "Tokens decide") {
        let prepared = state.withLock { $0.prepared }
        guard prepared.settings.isEnabled else { return }
        logger.notice(
            message,
            metadata: [
                "for": .string(prepared.settings.neededFor.map(\.rawValue).sorted(by: >).joined(separator: " ")),
                "keys": .stringConvertible(prepared.verifier.keys.count),
                "skipped": .stringConvertible(prepared.skipped),
            ])
    }

    // MARK: Deciding

    package func allow(token: String?, action: StreamAction, stream: String, appKey: String) -> RightsDecision {
        let (settings, verifier) = state.withLock { ($0.prepared.settings, $0.prepared.verifier) }
        guard settings.isEnabled, settings.neededFor.contains(action), !settings.exceptApplications.contains(appKey)
        else { return .allow(RightsGrant()) }
        let now = now()
        do {
            let claims = try verifier.allow(token: token, action: action, stream: stream, now: now)
            metrics.count(action, nil)
            let left = claims.expires + settings.rules.leeway - now
            return .allow(
                RightsGrant(
                    subject: claims.subject, endsIn: settings.endsAtExpiry ? .milliseconds(left * 1_000) : nil))
        } catch {
            metrics.count(action, error)
            return .refuse(error.rights)
        }
    }

    /// Whether anybody needs a token for that now.
    package func decides(about action: StreamAction) -> Bool {
        state.withLock { state in
            let settings = state.prepared.settings
            return settings.isEnabled && settings.neededFor.contains(action)
        }
    }

    // MARK: Keys that change

    /// Looks at the file of keys and reads it if it changed. A bad one changes nothing.
    /// - Returns: whether other keys are in use now.
    @discardableResult
    package func reloadIfChanged() async -> Bool {
        let (settings, last) = state.withLock { ($0.prepared.settings, $0.mark) }
        guard !settings.keyFile.isEmpty else { return false }
        let mark = KeyFile.Mark(settings.keyFile)
        guard mark != last else { return false }
        do {
            let prepared = try await Self.prepare(settings)
            // SIGHUP may have brought other settings meanwhile; then this is old.
            let isCurrent = state.withLock { state in
                guard state.prepared.settings == settings else { return false }
                state = State(prepared: prepared, mark: prepared.mark)
                return true
            }
            guard isCurrent else { return false }
            metrics.keys.set(Double(prepared.verifier.keys.count))
            metrics.countRead(ok: true)
            logState("Keys of tokens read again")
            return true
        } catch {
            state.withLock { if $0.prepared.settings == settings { $0.mark = mark } }
            metrics.countRead(ok: false)
            logger.error(
                "Changed keys of tokens are not usable, the old ones stay in use", metadata: ["error": "\(error)"])
            return false
        }
    }

    /// Looks again and again until the task is cancelled.
    package func watch(every interval: Duration) async {
        while !Task.isCancelled {
            do { try await Task.sleep(for: interval) } catch { return }
            await reloadIfChanged()
        }
    }
}
