import Foundation
import Glibc
import Wire

/// What a recording thread sleeps on: an eventfd that the engine writes (`SinkWaker`), or in tests whatever blocks.
package protocol RecordingWaiter: Sendable {
    /// Sleeps until `wake`, news or the timeout; not at all if `hasNews`, asked once after the arming, says so.
    func wait(timeout: Interval, unless hasNews: () -> Bool)
    /// Any thread.
    func wake()
}

/// One recording on a recording thread: reads its queue, writes its file. Lives on that thread alone.
package protocol RecordingMember: AnyObject {
    /// Something is in the queue.
    var hasNews: Bool { get }
    /// Takes what is in the queue, up to a share that leaves the others theirs, and lets time pass.
    ///
    /// - Returns: false when the recording is over; it has been stopped then.
    func turn(now: Instant) -> Bool
    /// Ends the recording: called once, for those that are removed before their stream ends.
    func stop(now: Instant)
}

/// A thread that serves recordings, each by one bounded queue from the media threads. It may block on the disk.
///
/// A disk that stalls stalls all recordings of the thread: they share it. Their queues take what comes meanwhile, and
/// when one is full its recording has a gap.
package final class RecordingThread: @unchecked Sendable {
    /// Fragments, syncs and the floor of free space are looked at this often without any packet.
    private static let longestSleep = Interval.milliseconds(250)

    package typealias Maker = @Sendable () -> any RecordingMember

    private enum Command {
        case add(UInt64, Maker)
        case remove(UInt64)
        case end
    }

    private let waiter: any RecordingWaiter
    private let clock: @Sendable () -> Instant
    private let condition = NSCondition()
    // Behind `condition`:
    private var commands: [Command] = []
    private var isRunning = true
    private var memberCount = 0

    package init(
        name: String, waiter: any RecordingWaiter, clock: @escaping @Sendable () -> Instant = RecordingThread.now
    ) {
        self.waiter = waiter
        self.clock = clock
        let thread = Thread { self.run() }
        thread.name = name
        thread.start()
    }

    /// Recordings served, those that are just being added included.
    package var count: Int { locked { memberCount } }

    /// - Parameter make: called on the thread.
    package func add(_ id: UInt64, _ make: @escaping Maker) {
        locked {
            commands.append(.add(id, make))
            memberCount += 1
        }
        waiter.wake()
    }

    /// Stops a recording; nothing happens if it has ended by itself.
    package func remove(_ id: UInt64) {
        locked { commands.append(.remove(id)) }
        waiter.wake()
    }

    /// Stops all recordings and returns when their files are closed.
    package func end() {
        locked { commands.append(.end) }
        waiter.wake()
        condition.lock()
        while isRunning { condition.wait() }
        condition.unlock()
    }

    package static func now() -> Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
    }

    private func run() {
        var members: [(id: UInt64, member: any RecordingMember)] = []
        while true {
            let news = locked {
                defer { commands = [] }
                return commands
            }
            for command in news {
                switch command {
                case .add(let id, let make): members.append((id, make()))
                case .remove(let id):
                    guard let index = members.firstIndex(where: { $0.id == id }) else { continue }
                    members.remove(at: index).member.stop(now: clock())
                    leave(1)
                case .end:
                    for (_, member) in members { member.stop(now: clock()) }
                    return finish()
                }
            }
            let before = members.count
            members.removeAll { !$0.member.turn(now: clock()) }
            leave(before - members.count)
            waiter.wait(timeout: Self.longestSleep) {
                locked { !commands.isEmpty } || members.contains { $0.member.hasNews }
            }
        }
    }

    private func leave(_ count: Int) {
        if count > 0 { locked { memberCount -= count } }
    }

    private func finish() {
        condition.lock()
        isRunning = false
        memberCount = 0
        condition.broadcast()
        condition.unlock()
    }

    private func locked<Value>(_ body: () -> Value) -> Value {
        condition.lock()
        defer { condition.unlock() }
        return body()
    }
}
