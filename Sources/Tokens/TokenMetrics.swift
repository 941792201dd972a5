import ControlPlane
import WeirMetrics

/// What the tokens count. Labels are ours: nothing of a token is in them.
struct TokenMetrics: Sendable {
    let keys: Gauge
    private let reads: [Bool: Counter]
    private let allowed: [StreamAction: Counter]
    private let refused: [StreamAction: [TokenRefusal: Counter]]

    init(_ registry: MetricsRegistry) {
        keys = registry.gauge("weir_token_keys", help: "Secrets and keys by which tokens may be signed.")
        reads = Dictionary(
            uniqueKeysWithValues: [true, false].map { ok in
                let counter = registry.counter(
                    "weir_token_key_reads_total", help: "Readings of the keys, by what came of them.",
                    labels: [("result", ok ? "ok" : "error")])
                return (ok, counter)
            })
        func counter(_ action: StreamAction, _ result: String) -> Counter {
            registry.counter(
                "weir_token_checks_total", help: "Tokens looked at, by what was decided.",
                labels: [("action", action.rawValue), ("result", result)])
        }
        allowed = Dictionary(uniqueKeysWithValues: StreamAction.allCases.map { ($0, counter($0, "allowed")) })
        refused = Dictionary(
            uniqueKeysWithValues: StreamAction.allCases.map { action in
                (
                    action,
                    Dictionary(uniqueKeysWithValues: TokenRefusal.allCases.map { ($0, counter(action, "\($0)")) })
                )
            })
    }

    func count(_ action: StreamAction, _ refusal: TokenRefusal?) {
        guard let refusal else {
            allowed[action]?.increment()
            return
        }
        refused[action]?[refusal]?.increment()
    }

    func countRead(ok: Bool) { reads[ok]?.increment() }
}
