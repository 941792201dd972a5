import Foundation
import Recording
import Synchronization
import Testing
import Wire

/// Blocks as an eventfd does: a wake before the wait is not lost.
private final class TestWaiter: RecordingWaiter, @unchecked Sendable {
    private let semaphore = DispatchSemaphore(value: 0)

    func wait(timeout: Interval, unless hasNews: () -> Bool) {
        if hasNews() { return }
        _ = semaphore.wait(timeout: .now() + timeout.seconds)
    }

    func wake() { semaphore.signal() }
}

private final class Log: Sendable {
    let entries = Mutex<[String]>([])
    func add(_ text: String) { entries.withLock { $0.append(text) } }
    var all: [String] { entries.withLock { $0 } }
}

/// Ends by itself after so many turns.
private final class CountedMember: RecordingMember {
    let name: String
    let log: Log
    var turns: Int

    init(_ name: String, turns: Int, _ log: Log) {
        self.name = name
        self.turns = turns
        self.log = log
    }

    var hasNews: Bool { turns > 0 }

    func turn(now: Instant) -> Bool {
        turns -= 1
        if turns == 0 { log.add("\(name) over") }
        return turns != 0
    }

    func stop(now: Instant) { log.add("\(name) stopped") }
}

@Suite struct RecordingThreadTests {
    @Test func membersAreServedUntilTheyAreOverRemovedOrAllEnd() {
        let log = Log()
        let thread = RecordingThread(name: "test", waiter: TestWaiter())
        thread.add(1) { CountedMember("short", turns: 3, log) }
        thread.add(2) { CountedMember("removed", turns: .max, log) }
        thread.add(3) { CountedMember("last", turns: .max, log) }
        thread.remove(2)
        thread.remove(2)
        thread.remove(99)
        while thread.count > 1 { sched_yield() }
        #expect(Set(log.all) == ["short over", "removed stopped"])
        thread.end()
        #expect(log.all.last == "last stopped" && log.all.count == 3)
        #expect(thread.count == 0)
    }

    @Test func manyThreadsEndWithoutMembers() {
        for _ in 0..<20 { RecordingThread(name: "test", waiter: TestWaiter()).end() }
    }
}
