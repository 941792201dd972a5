/// What the machine carries, as the assembly measures it once a second.
package struct MachineLoad: Hashable, Sendable {
    /// Media packets that left in a second.
    package var packetRate: Double
    /// Percent of the processors that this process may use.
    package var cpu: Double

    package init(packetRate: Double = 0, cpu: Double = 0) {
        self.packetRate = packetRate
        self.cpu = cpu
    }
}

/// The load to come: what was measured, and what was admitted since and is not in the measurement yet. Without the
/// second part a thousand players who come within one second would all be let in by the figures of the second before.
struct LoadEstimate {
    /// A player is counted as one to come for so many measurements: joining takes a second or two.
    private static let secondsToJoin = 3
    /// With fewer players their share of the load says nothing: most of it is the server's own.
    private static let minPlayers = 20

    private(set) var measured = MachineLoad()
    private var playersMeasured = 0
    /// Players admitted, by measurement, the present one last.
    private var admitted = [Int](repeating: 0, count: Self.secondsToJoin)

    mutating func note(_ load: MachineLoad, players: Int) {
        measured = load
        admitted.removeFirst()
        admitted.append(0)
        // Who is still joining is in `players` but not in the load.
        playersMeasured = max(0, players - admitted.reduce(0, +))
    }

    mutating func admitPlayer() { admitted[admitted.count - 1] += 1 }

    var expected: MachineLoad {
        guard playersMeasured >= Self.minPlayers else { return measured }
        let factor = 1 + Double(admitted.reduce(0, +)) / Double(playersMeasured)
        return MachineLoad(packetRate: measured.packetRate * factor, cpu: measured.cpu * factor)
    }

    /// The limit that one more publisher or player would be beyond.
    func refusal(_ limits: ControlConfiguration.Limits) -> Refusal.Limit? {
        let load = expected
        if limits.packetRate > 0, load.packetRate >= Double(limits.packetRate) { return .packetRate }
        if limits.cpu > 0, load.cpu >= Double(limits.cpu) { return .cpu }
        return nil
    }
}

/// What there is and how much of it there may be (`/capacity`).
package struct CapacityReport: Hashable, Sendable {
    package enum Verdict: String, Hashable, Sendable, CaseIterable {
        /// Another publisher or player is let in, unless its session or stream has reached a limit of its own.
        case accepting
        /// A limit is reached.
        case full
        /// The operator has asked that nothing new be taken.
        case draining
        /// The server ends.
        case ending
    }

    package var verdict: Verdict
    /// Why players are refused, in the words that they are told; nil when they are not.
    package var reason: String?
    package var limits: ControlConfiguration.Limits
    package var sessions: Int
    package var streams: Int
    package var players: Int
    package var load: MachineLoad
}
