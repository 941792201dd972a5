import Logging
import WeirJSON

/// Logs of a session: its debugging, and what its client pushes of its own log.
extension ClientSession {
    /// The log of what a client pushes; it is begun with the first line and not tried again if that fails.
    enum ClientLog {
        case none
        case opening
        case open(any SessionLog)
        case refused
    }

    /// Lines of the client's log (signalling 6.2): for the backend, and into the session's log.
    package func pushLogs(_ text: String) async {
        guard closeReason == nil else { return }
        hooks.tell(.logs(text))
        let line = "client \(Redaction.text(text))"
        if let debugLog {
            debugLog.append(line)
            return
        }
        if case .none = clientLog { await openClientLog() }
        if case .open(let log) = clientLog { log.append(line) }
    }

    private func openClientLog() async {
        clientLog = .opening
        do throws(DiagnosticError) {
            let log = try await openLog(.client)
            guard closeReason == nil else {
                await log.close()
                return
            }
            clientLog = .open(log)
        } catch {
            clientLog = .refused
            logger.info("what the client logs is not kept", metadata: ["error": "\(error)"])
        }
    }

    private func openLog(_ kind: DiagnosticLogKind) async throws(DiagnosticError) -> any SessionLog {
        guard let store = context.diagnostics else { throw .off }
        let id = id
        typealias Opened = Result<any SessionLog, DiagnosticError>
        let opened = await withDeadline(
            context.timers, context.configuration.storeTimeout,
            late: { (late: Opened) in
                if case .success(let log) = late { Task { await log.close() } }
            }
        ) { () -> Opened in
            do throws(DiagnosticError) {
                return .success(try await store.openLog(kind, session: id))
            } catch {
                return .failure(error)
            }
        }
        guard let opened else { throw .timeout }
        return try opened.get()
    }

    /// Begins or ends the debugging of the session (signalling 6.3). Begun again it goes on; ended without having been
    /// begun it has no file.
    package func debug(command: String) async {
        guard closeReason == nil else { return }
        journal.add(.received, "sessionDebug \(JournalText.clean(command))")
        hooks.tell(.sessionDebug(command: command))
        if command == "start" {
            await startDebugging()
        } else {
            await stopDebugging()
        }
    }

    private func startDebugging() async {
        if debugLog == nil, !isOpeningLog {
            isOpeningLog = true
            defer { isOpeningLog = false }
            do throws(DiagnosticError) {
                let log = try await openLog(.session)
                guard closeReason == nil else {
                    await log.close()
                    return
                }
                for entry in journal.entries { log.append("earlier \(entry.lines)") }
                debugLog = log
                journal.setLog(log)
                logger.notice("session is debugged", metadata: ["file": "\(log.fileName)"])
            } catch {
                logger.warning("session is not debugged", metadata: ["error": "\(error)"])
                emit(.error(info: "Session debug: \(error.info)"))
                return
            }
        }
        emit(.debug(started: true, file: nil))
        hooks.tell(.sessionDebugStatus(started: true, file: nil))
    }

    private func stopDebugging() async {
        let log = debugLog
        debugLog = nil
        journal.setLog(nil)
        if let log {
            _ = await withDeadline(context.timers, context.configuration.storeTimeout) { await log.close() }
        }
        guard closeReason == nil else { return }
        emit(.debug(started: false, file: log?.fileName))
        hooks.tell(.sessionDebugStatus(started: false, file: log?.fileName))
    }

    /// The session has ended.
    func closeLogs() {
        journal.setLog(nil)
        var logs = debugLog.map { [$0] } ?? []
        if case .open(let log) = clientLog { logs.append(log) }
        debugLog = nil
        clientLog = .refused
        for log in logs { Task { await log.close() } }
    }

    /// What the client says it is, for reports.
    func clientVersions() -> [(String, String)] {
        guard let profile, let value = try? JSONParser.parse(Array(profile.text.utf8)) else { return [] }
        return ["clientVersion", "clientOSVersion", "clientBrowserVersion"].compactMap { name in
            value[name]?.text.map { (name, $0) }
        }
    }
}
