import Synchronization
import WeirMetrics

/// Why input was refused, or a client sent away. Each has its counter, so that an attack shows in the metrics even
/// where the log is silent.
enum RejectReason: String, CaseIterable, Sendable {
    case tooManyConnections = "too_many_connections"
    case tooManyFromAddress = "too_many_from_address"
    case tlsHandshake = "tls_handshake"
    case notWebSocket = "not_websocket"
    case handshakeTimeout = "handshake_timeout"
    case firstMessageTimeout = "first_message_timeout"
    case fragmentTimeout = "fragment_timeout"
    case keepAlive = "keep_alive"
    case slowReader = "slow_reader"
    case frameProtocol = "frame_protocol"
    case messageTooLong = "message_too_long"
    case tooManyFragments = "too_many_fragments"
    case badText = "bad_utf8"
    case binaryMessage = "binary_message"
    case jsonMalformed = "json_malformed"
    case jsonTooDeep = "json_too_deep"
    case jsonTooManyValues = "json_too_many_values"
    case notAnEnvelope = "not_an_envelope"
    case tooManyRejected = "too_many_rejected"
    case beforeConnection = "before_connection"
    case secondConnection = "second_connection"
    case sessionRefused = "session_refused"
    case unknownMessage = "unknown_message"
}

final class WCSMetrics: Sendable {
    let connections: Gauge
    let accepted: Counter
    let messagesReceived: Counter
    let messagesSent: Counter
    let bytesReceived: Counter
    let bytesSent: Counter
    private let rejected: [RejectReason: Counter]

    init(_ registry: MetricsRegistry) {
        connections = registry.gauge("weir_wcs_connections", help: "Open sockets of the WCS WebSocket")
        accepted = registry.counter("weir_wcs_connections_total", help: "Accepted sockets of the WCS WebSocket")
        messagesReceived = registry.counter("weir_wcs_messages_received_total", help: "Text messages of clients")
        messagesSent = registry.counter("weir_wcs_messages_sent_total", help: "Text messages to clients")
        bytesReceived = registry.counter("weir_wcs_received_bytes_total", help: "Payload of clients' text messages")
        bytesSent = registry.counter("weir_wcs_sent_bytes_total", help: "Payload of text messages to clients")
        var counters: [RejectReason: Counter] = [:]
        for reason in RejectReason.allCases {
            counters[reason] = registry.counter(
                "weir_wcs_rejected_total", help: "Refused input and disconnected clients of the WCS WebSocket",
                labels: [("reason", reason.rawValue)])
        }
        rejected = counters
    }

    func count(_ reason: RejectReason) {
        rejected[reason]?.increment()
    }
}

/// Lets some log lines through and counts the rest: a token bucket for all connections together.
final class LogLimiter: Sendable {
    private struct State {
        var tokens: Double
        var refilled: ContinuousClock.Instant
        var suppressed = 0
    }

    private let perSecond: Double
    private let burst: Double
    private let state: Mutex<State>

    init(perSecond: Double = 5, burst: Double = 20) {
        self.perSecond = perSecond
        self.burst = burst
        state = Mutex(State(tokens: burst, refilled: .now))
    }

    /// Nil if the line must not be written, else how many were left out since the last one.
    func admit(now: ContinuousClock.Instant = .now) -> Int? {
        state.withLock { state in
            let elapsed = state.refilled.duration(to: now) / .seconds(1)
            state.tokens = min(burst, state.tokens + max(0, elapsed) * perSecond)
            state.refilled = now
            guard state.tokens >= 1 else {
                state.suppressed += 1
                return nil
            }
            state.tokens -= 1
            defer { state.suppressed = 0 }
            return state.suppressed
        }
    }
}
