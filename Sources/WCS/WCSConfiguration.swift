import ControlPlane
import NIOCore
import WeirJSON

/// Where to listen.
package struct WCSListener: Sendable, Hashable, CustomStringConvertible {
    /// An IP address of this host, or a name that resolves to one; `0.0.0.0` and `::` for all.
    package var host: String
    /// 0 lets the system choose (tests).
    package var port: Int
    /// `wss` instead of `ws`.
    package var secure: Bool

    package init(host: String = "0.0.0.0", port: Int = 8080, secure: Bool = false) {
        self.host = host
        self.port = port
        self.secure = secure
    }

    package var description: String {
        "\(secure ? "wss" : "ws")://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }
}

/// Settings of the WCS WebSocket.
package struct WCSConfiguration: Sendable {
    /// How the server finds out that a client is gone (section 1.4).
    package enum KeepAlive: String, Sendable, CaseIterable {
        /// `ping` messages, which the SDK's own watchdog needs too.
        case text
        /// Ping frames of RFC 6455.
        case webSocket = "websocket"
        case none
    }

    package var listeners: [WCSListener] = [WCSListener()]
    /// Open sockets, also those still in the handshake. To be shared with the other listeners of the server.
    package var connections = ConnectionBudget(limit: 20_000, limitPerAddress: 1_000)
    /// Whose `X-Forwarded-For` names the client.
    package var trustedProxies = TrustedProxies()

    /// From the accepted socket to the finished upgrade, TLS included.
    package var handshakeTimeout: Duration = .seconds(10)
    /// From the upgrade to `connection`.
    package var firstMessageTimeout: Duration = .seconds(10)
    /// From the first to the last fragment of one message.
    package var fragmentTimeout: Duration = .seconds(20)

    /// Bytes of one message, put together from its fragments.
    package var maxMessageBytes = 1 << 20
    package var maxFragments = 1_024
    /// Nesting of a message's JSON.
    package var maxDepth = 64
    /// Messages that are no WCS messages before the connection is closed.
    package var maxRejectedMessages = 64

    package var keepAlive = KeepAlive.text
    package var keepAliveInterval: Duration = .seconds(5)
    /// Pings in a row without any sign of life.
    package var keepAliveProbes = 10

    /// What may wait for a client that reads slowly, before it is disconnected.
    package var maxQueuedMessages = 1_024
    package var maxQueuedBytes = 4 << 20
    /// Requests that may wait for earlier ones; then nothing more is read from the socket for a while.
    package var maxPendingRequests = 64
    package var maxPendingBytes = 2 << 20

    /// How long the client may take to answer a close frame.
    package var closeTimeout: Duration = .seconds(2)
    /// For telling every client at shutdown; then the sockets are closed.
    package var shutdownTimeout: Duration = .seconds(5)

    /// Sent as `getVersion`. Old clients read a number of the original server's generation out of it.
    package var version = "5.2.0"

    /// What clients are told about the WebRTC statistics that they shall send (section 6.5); nil: they send none.
    package var metricsDescription: JSONText?

    package init() {}

    var jsonLimits: JSONParser.Limits {
        var limits = JSONParser.Limits()
        limits.bytes = maxMessageBytes
        limits.depth = maxDepth
        return limits
    }
}

extension TimeAmount {
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
