import CLinuxNet
import Wire

extension SocketAddress {
    package init(_ c: weir_address) {
        self.init(
            family: c.family == 6 ? .ipv6 : .ipv4, high: c.high, low: c.low, port: c.port, scope: c.scope)
    }

    package var c: weir_address {
        weir_address(high: high, low: low, scope: scope, port: port, family: family.rawValue)
    }
}

extension Instant {
    /// `CLOCK_MONOTONIC`: the clock of every shell of ours.
    package static var now: Instant { Instant(nanoseconds: weir_monotonic_ns()) }
}
