/// Number of a media peer (one publisher or one player connection). Chosen by the control plane, never used twice.
package struct PeerID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package var description: String { String(rawValue) }
}

/// JSON that the control plane carries without looking into it. The adapter guarantees that it is one valid JSON value.
package struct JSONText: Hashable, Sendable, CustomStringConvertible {
    package let text: String

    package init(_ text: String) { self.text = text }

    package var description: String { text }
}

/// By which protocol a client talks to us.
package enum SessionKind: String, Sendable, CaseIterable {
    case webSocket = "websocket"
    case whip
    case whep
}
