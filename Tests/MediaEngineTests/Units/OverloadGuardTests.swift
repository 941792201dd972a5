import MediaEngine
import Testing
import Wire

@Suite struct OverloadGuardTests {
    private static let limit = Interval.milliseconds(60)
    private static let long = Interval.milliseconds(61)
    private static let short = Interval.milliseconds(29)

    private static func make() -> OverloadGuard { OverloadGuard(limit: limit) }

    /// A guard that has seen nothing but long waits until so many parts were thinned.
    private static func pressed(parts: Int) -> OverloadGuard {
        var overload = make()
        for _ in 0..<100 where overload.thinnedParts < parts || !overload.isPressed {
            _ = overload.look(longestWait: long)
        }
        return overload
    }

    private func expectNothing(_ overload: inout OverloadGuard, _ wait: Interval) {
        let hasChanged = overload.look(longestWait: wait)
        #expect(!hasChanged)
    }

    @Test func anAccidentChangesNothing() {
        var overload = Self.make()
        for _ in 0..<50 {
            for wait in [Self.long, Self.long, Self.short] { expectNothing(&overload, wait) }
            // Neither long nor short: it ends a row as well.
            for wait in [Interval.seconds(5), Self.long, Self.limit] { expectNothing(&overload, wait) }
        }
        #expect(!overload.isPressed && overload.thinnedParts == 0 && overload.admits)
    }

    @Test func waitsUpToTheLimitAreNoOverload() {
        var overload = Self.make()
        for _ in 0..<1000 { expectNothing(&overload, Self.limit) }
        #expect(!overload.isPressed)
    }

    @Test func sustainedWaitsBoundKeyFramesFirstAndThenThinInSteps() {
        var overload = Self.make()
        var seen: [String] = []
        for look in 1...25 where overload.look(longestWait: Self.long) {
            seen.append("\(look) \(overload.isPressed) \(overload.thinnedParts) \(overload.admits)")
        }
        let steps = (1...8).map { "\(3 + 2 * $0) true \(2 * $0) false" }
        #expect(seen == ["3 true 0 true"] + steps)
        #expect(overload.thinnedParts == OverloadGuard.parts, "all of them, and not more")
    }

    @Test func whatWasGivenUpComesBackSlower() {
        var overload = Self.pressed(parts: 4)
        #expect(overload.thinnedParts == 4)
        var seen: [String] = []
        for look in 1...60 where overload.look(longestWait: Self.short) {
            seen.append("\(look) \(overload.isPressed) \(overload.thinnedParts) \(overload.admits)")
        }
        #expect(
            seen == [
                "10 true 3 false", "20 true 2 false", "30 true 1 false", "40 true 0 true", "50 false 0 true",
            ])
    }

    @Test func betweenHalfTheLimitAndTheLimitAllStaysAsItIs() {
        for parts in [0, 2, 16] {
            var overload = Self.pressed(parts: parts)
            for wait in [30, 45, 60] as [Int64] {
                for _ in 0..<100 { expectNothing(&overload, .milliseconds(wait)) }
            }
            #expect(overload.isPressed && overload.thinnedParts == parts)
        }
    }

    @Test func onlyARowOfLooksCounts() {
        var overload = Self.pressed(parts: 2)
        for _ in 0..<20 {
            // One look short of a step in either direction.
            expectNothing(&overload, Self.long)
            for _ in 0..<9 { expectNothing(&overload, Self.short) }
        }
        #expect(overload.thinnedParts == 2)
    }

    @Test func anOverloadThatComesBackNeedsNoSecondWarning() {
        var overload = Self.pressed(parts: 2)
        for _ in 0..<20 { _ = overload.look(longestWait: Self.short) }
        #expect(overload.isPressed && overload.thinnedParts == 0 && overload.admits)
        for _ in 0..<2 { _ = overload.look(longestWait: Self.long) }
        #expect(overload.thinnedParts == 2 && !overload.admits)
    }
}
