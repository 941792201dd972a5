import ControlPlane
import NIOCore
import RTSP

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

extension TimeAmount {
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
