import MediaEngine
import Testing

@Suite struct TurnTimesTests {
    @Test func turnsAreCountedByTheirLength() {
        let times = TurnTimes()
        for microseconds: Int64 in [0, 50, 51, 999, 100_000, 100_001, 5_000_000] {
            times.observe(.microseconds(microseconds))
        }
        // A clock that went back is no turn of negative length.
        times.observe(.nanoseconds(-1))
        let counts = times.cumulativeCounts
        #expect(counts.count == TurnTimes.bounds.count + 1)
        #expect(counts.first == 3)
        #expect(counts[1] == 4)
        #expect(counts[counts.count - 2] == 6)
        #expect(counts.last == 8)
        #expect(abs(times.sum - 5.201_101) < 1e-9)
    }
}
