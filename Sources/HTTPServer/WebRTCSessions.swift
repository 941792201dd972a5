import ControlPlane
import Synchronization
import WeirMetrics

/// The WHIP and WHEP sessions that exist, by the id in their URL.
final class WebRTCSessions: Sendable {
    private let sessions = Mutex<[String: WebRTCSession]>([:])
    private let gauge: Gauge

    init(metrics: MetricsRegistry) {
        gauge = metrics.gauge("weir_http_webrtc_sessions", help: "WHIP and WHEP sessions that exist.")
    }

    /// Makes the session known and watches it: when its media ends or the control plane closes it, it disappears.
    func insert(_ session: WebRTCSession) {
        sessions.withLock { $0[session.id] = session }
        gauge.add(1)
        Task { await self.follow(session) }
    }

    func find(_ id: String, kind: SessionKind, streamName: String) -> WebRTCSession? {
        guard let session = sessions.withLock({ $0[id] }) else { return nil }
        return session.kind == kind && session.streamName == streamName ? session : nil
    }

    /// True for exactly one caller.
    @discardableResult
    func remove(_ session: WebRTCSession) -> Bool {
        let wasThere = sessions.withLock { $0.removeValue(forKey: session.id) } != nil
        if wasThere { gauge.add(-1) }
        return wasThere
    }

    var count: Int { sessions.withLock { $0.count } }

    private func follow(_ session: WebRTCSession) async {
        var reason = SessionCloseReason.clientClosed
        events: for await event in session.client.events {
            switch event {
            case .status(let status) where status.status.isTerminal:
                if status.status == .failed { reason = .connectionLost }
                break events
            case .closing: break events
            default: continue
            }
        }
        remove(session)
        await session.client.close(reason)
    }
}
