import WeirJSON

/// The rights that a client brings: where its token is, and when its right ends.
extension ClientSession {
    /// Whether the client may do that, as far as its token says. The one place where streams need a token.
    func rights(to action: StreamAction, _ name: String, custom: JSONText?) -> RightsDecision {
        guard let rights = context.rights else { return .allow(RightsGrant()) }
        let decision = rights.allow(
            token: StreamToken.of(custom) ?? token, action: action, stream: name, appKey: facts.appKey)
        if case .allow(let grant) = decision, let subject = grant.subject {
            logger.debug(
                "stream allowed by token",
                metadata: [
                    "stream": "\(StreamName.shown(name))", "action": "\(action.rawValue)", "subject": "\(subject)",
                ])
        }
        return decision
    }

    /// What ends a stream at the end of its right; nil if it may go on.
    func expiry(of grant: RightsGrant, _ mediaSessionId: String, _ peer: PeerID) -> Task<Void, Never>? {
        guard let left = grant.endsIn, left < Self.longestRight else { return nil }
        let timers = context.timers
        let time = timers.now + left
        return Task {
            guard await timers.sleep(until: time), isCurrent(mediaSessionId, peer) else { return }
            await end(mediaSessionId, .denied(.expired))
        }
    }

    /// No stream lives longer; clocks cannot sleep until the year 9999.
    private static let longestRight = Duration.seconds(10 * 365 * 86_400)
}

/// Finds a token in what clients send.
enum StreamToken {
    static let name = "token"

    /// Of a connection: in its `custom` (first as the backend changed it: it may have put one there), in the header of
    /// the request that opened it, or in the query of its URL.
    static func of(_ facts: SessionFacts, _ request: ConnectRequest) -> String? {
        let header = facts.bearerToken.flatMap { $0.isEmpty ? nil : $0 }
        return of(facts.custom) ?? of(request.custom) ?? header ?? of(query: facts.query)
    }

    /// The text under `token`. An empty one is as good as none.
    static func of(_ custom: JSONText?) -> String? {
        guard let custom, let value = try? JSONParser.parse(Array(custom.text.utf8)),
            case .string(let token)? = value[name], !token.isEmpty
        else { return nil }
        return token
    }

    /// The parameter `token`; the last one counts, as in `custom` of WHIP clients. The characters of tokens need no
    /// escapes, so none are undone.
    static func of(query: String?) -> String? {
        let values = (query ?? "").split(separator: "&").filter { $0.hasPrefix("\(name)=") }
        guard let last = values.last?.dropFirst(name.utf8.count + 1), !last.isEmpty else { return nil }
        return String(last)
    }
}
