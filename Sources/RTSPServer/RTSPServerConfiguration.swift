import ControlPlane
import NIOCore
import RTSP
import Wire

/// Where to listen.
package struct RTSPListener: Sendable, Hashable, CustomStringConvertible {
    /// An IP address of this host, or a name that resolves to one; `0.0.0.0` and `::` for all.
    package var host: String
    /// 0 lets the system choose (tests).
    package var port: Int
    /// `rtsps`
    package var secure: Bool

    package init(host: String = "0.0.0.0", port: Int = 8554, secure: Bool = false) {
        self.host = host
        self.port = port
        self.secure = secure
    }

    /// Of the configuration.
    var key: String { secure ? "rtsp.tls_listeners" : "rtsp.listeners" }

    package var description: String {
        "\(secure ? "rtsps" : "rtsp")://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }
}

/// Settings of the RTSP listeners.
package struct RTSPServerConfiguration: Sendable {
    package var listeners: [RTSPListener] = [RTSPListener()]
    /// Open connections, to be shared with the other listeners of the server.
    package var connections = ConnectionBudget(limit: 20_000, limitPerAddress: 1_000)
    package var session = RTSPServerSettings()
    package var limits = RTSPLimits()
    /// Of what players are sent; who feeds an `RTSPStream` names the same.
    package var sources = RTSPSourceIdentifiers()

    /// What may wait in a connection before a player loses pictures; it takes on when less than half of it waits.
    package var maxQueuedBytes = 2 << 20
    /// For how long a connection may take nothing at all before it is closed.
    package var slowReaderTimeout: Duration = .seconds(20)
    /// Of what is still to be sent, when a connection is closed.
    package var closeTimeout: Duration = .seconds(2)
    /// For telling every client at shutdown.
    package var shutdownTimeout: Duration = .seconds(2)

    package init() {}
}

/// Source identifiers (SSRC) of streams' tracks: the same for all players in connections, who are sent the same bytes, and
/// for as long as the server runs. Nobody can foretell them.
package struct RTSPSourceIdentifiers: Sendable {
    private let key: UInt64

    package init(key: UInt64 = .random(in: .min ... .max)) { self.key = key }

    /// Never 0.
    package func ssrc(_ stream: String, _ track: Int) -> UInt32 {
        var hash = key
        for byte in stream.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        var random = SeededRandom(seed: hash &+ UInt64(truncatingIfNeeded: track))
        return UInt32(truncatingIfNeeded: random.next() >> 32) | 1
    }
}

extension TimeAmount {
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
