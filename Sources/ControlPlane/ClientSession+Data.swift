import Logging
import WeirJSON

/// Data of applications, and what clients send when something is wrong.
extension ClientSession {
    /// Data for the backend (signalling 5.1). Settled by `.dataStatus`, whatever the backend does.
    package func sendData(operationId: String, payload: JSONText) {
        operate(.data(operationId: operationId, payload: payload)) { session, refusal in
            session.emit(.dataStatus(operationId: operationId, accepted: refusal == nil, info: refusal))
            session.hooks.tell(.dataStatus(operationId: operationId, accepted: refusal == nil, info: refusal))
        }
    }

    /// A picture of a published stream (signalling 3.10). Answered by the stream event `snapshotCompleted` or
    /// `snapshotFailed`.
    package func snapshot(mediaSessionId: String, name: String) {
        operate(.snapshot(mediaSessionId: mediaSessionId, name: name)) { session, refusal in
            session.emit(.snapshotFailed(mediaSessionId, refusal ?? Self.noSnapshots))
        }
    }

    private static let noSnapshots = "Snapshots are not supported"

    /// Keeps a report of the client and tells it under which name (signalling 6.1).
    package func submitBugReport(text: String, type: String) {
        operate(.bugReport(text: text, type: type)) { session, refusal in
            if let refusal {
                session.emit(.error(info: refusal))
                return
            }
            // The log is where reports are kept; the client is told what to search for.
            let name = "bug-report-\(Token.make().prefix(Self.reportNameLength))"
            session.logger.notice(
                "bug report of a client",
                metadata: [
                    "report": "\(name)", "type": "\(type.prefix(Self.loggedCharacters))",
                    "text": "\(text.prefix(Self.loggedCharacters))",
                ])
            session.emit(.bugReport(fileName: name))
            session.hooks.tell(.bugReportStatus(fileName: name, text: text, type: type))
        }
    }

    private static let reportNameLength = 8
    private static let loggedCharacters = 1_000

    /// Lines of the client's log (signalling 6.2).
    package func pushLogs(_ text: String) {
        guard closeReason == nil else { return }
        hooks.tell(.logs(text))
    }

    /// Begins or ends the debugging of the session (signalling 6.3).
    package func debug(command: String) {
        guard closeReason == nil else { return }
        let started = command == "start"
        hooks.tell(.sessionDebug(command: command))
        emit(.debug(started: started, file: nil))
        hooks.tell(.sessionDebugStatus(started: started, file: nil))
    }

    /// Asks the backend, then lets `finish` answer the client, with the text of a refusal. So many wait at a time; a
    /// client that asks for more is refused at once, without the backend.
    private func operate(_ call: DirectCall, _ finish: @escaping @Sendable (ClientSession, String?) -> Void) {
        guard closeReason == nil else { return }
        guard operations < context.configuration.operationLimit else {
            context.metrics.countRejection("tooManyOperations")
            finish(self, "Too many requests are waiting")
            return
        }
        operations += 1
        let answer = hooks.ask(call)
        Task {
            let decision = await decision(answer)
            operations -= 1
            guard closeReason == nil else { return }
            switch decision {
            case .allow, .change: finish(self, nil)
            case .refuse(_, let reason): finish(self, reason)
            case nil: finish(self, SignallingError.backendTimeout.info)
            }
        }
    }
}

extension ClientSession: HookedClient {
    /// Data of the backend, the operator or an application for the client (`OnDataEvent`).
    package nonisolated func deliverData(operationId: String, payload: JSONText) {
        emit(.data(operationId: operationId, payload: payload))
    }

    package nonisolated func reportError(_ info: String) { emit(.error(info: info)) }

    package nonisolated func endByKeepAlive(mediaSessionId: String) {
        Task { await end(mediaSessionId, .keepAlive) }
    }

    /// Fields that the client is not to see in messages of that method.
    package nonisolated func clientExclude(_ method: HookMethod) -> Set<String> { hooks.clientExclude(method) }
}

extension SessionEvent {
    fileprivate static func snapshotFailed(_ mediaSessionId: String, _ info: String) -> SessionEvent {
        .streamEvent(
            mediaSessionId: mediaSessionId, type: "snapshotFailed",
            payload: JSONText(JSONValue.object([JSONMember("info", .string(info))]).serialized))
    }
}
