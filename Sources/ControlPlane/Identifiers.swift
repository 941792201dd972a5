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

/// Unguessable identifiers.
package enum Token {
    /// 128 bits of the system's generator, in hexadecimal.
    package static func make() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<2).map { _ in
            let text = String(generator.next() as UInt64, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }.joined()
    }
}

/// Names of sessions as backends of the original know them: `/CLIENT:PORT/SERVER:PORT-` and what nobody can guess.
enum SessionID {
    static func make(_ request: ConnectRequest) -> String {
        "/\(request.remoteAddress)/\(request.localAddress ?? "")-\(Token.make())"
    }
}

/// By which protocol a client talks to us, or that there is none.
package enum SessionKind: String, Sendable, CaseIterable {
    case webSocket = "websocket"
    case whip
    case whep
    /// A publisher by RTSP (ANNOUNCE, RECORD).
    case rtsp
    /// Nobody's client: the publisher of a stream that is made because somebody plays it (`OnDemandSource`).
    case onDemand = "on-demand"
}
