/// What a journal writes down of messages, hooks and events.
enum JournalText {
    /// Characters of one text of a client or backend.
    static let longest = 160

    /// Without what would break the line, and not longer than `longest`.
    static func clean(_ text: String) -> String {
        let cut = text.unicodeScalars.prefix(longest + 1)
        var out = String.UnicodeScalarView(cut.prefix(longest).map { $0.value < 0x20 || $0.value == 0x7f ? " " : $0 })
        if cut.count > longest { out.append("…") }
        return String(out)
    }

    static func request(_ name: String, _ request: StreamRequest) -> String {
        "\(name) \(stream(request.mediaSessionId, request.name)) audio=\(request.hasAudio) video=\(request.hasVideo) "
            + "transport=\(request.transport.rawValue) provider=\(clean(request.mediaProvider ?? "")) "
            + "size=\(request.width)x\(request.height) bitrate=\(request.bitrate) "
            + "bounds=\(request.minBitrate)...\(request.maxBitrate) custom=\(bytes(request.custom))"
    }

    static func stream(_ mediaSessionId: String, _ name: String) -> String {
        "mediaSessionId=\(clean(mediaSessionId)) name=\(clean(Redaction.name(name)))"
    }

    static func bytes(_ payload: JSONText?) -> String {
        payload.map { "(\($0.text.utf8.count) bytes)" } ?? "none"
    }
}

extension SessionEvent {
    /// nil for what comes every second and tells nothing.
    var journalText: String? {
        typealias J = JournalText
        switch self {
        case .remoteSDP(let id, _): return "setRemoteSDP mediaSessionId=\(J.clean(id))"
        case .status(let event):
            return "status \(event.status.rawValue) \(J.stream(event.mediaSessionId, event.name)) "
                + "published=\(event.published)" + (event.info.map { " info=\(J.clean($0))" } ?? "")
        case .streamEvent(let id, let type, let payload):
            return "streamEvent \(J.clean(type)) mediaSessionId=\(J.clean(id)) payload=\(J.bytes(payload))"
        case .availability(let id, let available, let info):
            return "availableStream \(available) mediaSessionId=\(J.clean(id)) info=\(info ?? "none")"
        case .data(let operationId, let payload):
            return "OnDataEvent operationId=\(J.clean(operationId)) payload=\(J.bytes(payload))"
        case .dataStatus(let operationId, let accepted, let info):
            return "DataStatusEvent \(accepted ? "ACCEPTED" : "FAILED") operationId=\(J.clean(operationId))"
                + (info.map { " info=\(J.clean($0))" } ?? "")
        case .bugReport(let fileName): return "bug report \(fileName)"
        case .debug(let started, _): return "debug \(started ? "STARTED" : "STOPPED")"
        case .error(let info): return "fail info=\(J.clean(info))"
        case .videoRate: return nil
        case .closing(let reason): return "closing: \(J.clean(reason.description))"
        }
    }

    var journalSDP: String? {
        if case .remoteSDP(_, let sdp) = self { sdp } else { nil }
    }
}

extension DirectCall {
    var journalText: String {
        typealias J = JournalText
        switch self {
        case .publish(let request), .play(let request):
            return "\(method.rawValue) \(J.stream(request.mediaSessionId, request.name))"
        case .data(let operationId, _): return "\(method.rawValue) operationId=\(J.clean(operationId))"
        case .snapshot(let id, let name): return "\(method.rawValue) \(J.stream(id, name))"
        case .bugReport(_, let type): return "\(method.rawValue) type=\(J.clean(type))"
        }
    }
}

extension HookEvent {
    var journalText: String {
        typealias J = JournalText
        let what: String
        switch self {
        case .established: what = "ESTABLISHED"
        case .connectionFailed(let info): what = "FAILED info=\(J.clean(info))"
        case .disconnected(let reason): what = "DISCONNECTED info=\(J.clean(reason.description))"
        case .streamStatus(let event), .stop(let event), .pause(let event):
            what = "\(event.status.rawValue) mediaSessionId=\(J.clean(event.mediaSessionId))"
        case .sentStreamEvent(let id, let type, _), .streamEvent(let id, let type, _), .recording(let id, let type, _):
            what = "\(J.clean(type)) mediaSessionId=\(J.clean(id))"
        case .dataStatus(let operationId, let accepted, _):
            what = "\(accepted ? "ACCEPTED" : "FAILED") operationId=\(J.clean(operationId))"
        case .bugReportStatus(let fileName, _, _): what = fileName
        case .logs(let text): what = "(\(text.utf8.count) bytes)"
        case .sessionDebug(let command): what = J.clean(command)
        case .sessionDebugStatus(let started, _): what = started ? "STARTED" : "STOPPED"
        }
        return "\(method.rawValue) \(what)"
    }
}

extension HookDecision {
    var journalText: String {
        switch self {
        case .allow: "allowed"
        case .change: "allowed with changes"
        case .refuse(let code, let reason): "refused \(code) \(JournalText.clean(reason))"
        }
    }
}

/// Writes down what the backend is asked and told, and hands it on.
struct JournaledHooks: SessionHooks {
    let hooks: any SessionHooks
    let journal: SessionJournal

    func attach(_ client: any HookedClient) { hooks.attach(client) }

    func ask(_ call: DirectCall) -> HookAnswer {
        journal.add(.backend, "asked \(call.journalText)")
        return hooks.ask(call)
    }

    func tell(_ event: HookEvent, after: Gate?) -> Gate? {
        let told = hooks.tell(event, after: after)
        if told != nil { journal.add(.backend, "told \(event.journalText)") }
        return told
    }

    func clientExclude(_ method: HookMethod) -> Set<String> { hooks.clientExclude(method) }
    func finish() { hooks.finish() }
}
