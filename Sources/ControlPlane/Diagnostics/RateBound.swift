/// How often somebody may do something: a token bucket in virtual time.
struct RateBound {
    private let perSecond: Double
    private let burst: Double
    private var tokens: Double
    private var filled = Duration.zero

    init(perSecond: Int, burst: Int) {
        self.perSecond = Double(perSecond)
        self.burst = Double(burst)
        tokens = Double(burst)
    }

    mutating func take(now: Duration) -> Bool {
        tokens = min(burst, tokens + max(0, (now - filled) / .seconds(1)) * perSecond)
        filled = now
        guard tokens >= 1 else { return false }
        tokens -= 1
        return true
    }
}
