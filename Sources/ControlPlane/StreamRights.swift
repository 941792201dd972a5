/// What a client may want to do with a stream.
package enum StreamAction: String, Hashable, Sendable, CaseIterable {
    case publish, play
}

/// Rights that clients bring with them, such as tokens. Asked before the backend is; both must allow.
package protocol StreamRights: Sendable {
    /// Returns at once; any thread may call. `stream` is the name that the client gave, before a backend changes it.
    func allow(token: String?, action: StreamAction, stream: String, appKey: String) -> RightsDecision
}

package enum RightsDecision: Hashable, Sendable {
    case allow(RightsGrant)
    case refuse(RightsRefusal)
}

package struct RightsGrant: Hashable, Sendable {
    /// Whose right it is, for the log.
    package var subject: String?
    /// After that time the stream is to end; nil: it may go on.
    package var endsIn: Duration?

    package init(subject: String? = nil, endsIn: Duration? = nil) {
        self.subject = subject
        self.endsIn = endsIn
    }
}

package struct RightsRefusal: Hashable, Sendable {
    /// `.unauthorized` or `.forbidden`.
    package var code: StatusCode
    /// The text for the client.
    package var info: String
    /// Value of the metrics label `reason`: one of a few, never made of what a client sent.
    package var label: String

    package init(code: StatusCode, info: String, label: String) {
        self.code = code
        self.info = info
        self.label = label
    }

    /// The right of a stream that was live has ended.
    package static let expired = RightsRefusal(
        code: .unauthorized, info: "Token has expired", label: "token_expired")
}
