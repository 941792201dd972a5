import CLinuxNet
import Glibc
import LinuxNet
import Synchronization
import Wire

/// Wakes one thread that serves any number of sinks (or sources): an eventfd, written by a worker at most once per turn
/// and only while the thread has said that it sleeps.
package final class SinkWaker: Sendable {
    /// Readable when there is news. For threads that have an epoll of their own: `arm`, look, wait, `disarm`.
    package let descriptor: CInt
    private let isAsleep = Atomic<Bool>(false)

    /// - Throws: `NetworkError` when the process has no descriptor to spare.
    package init() throws {
        descriptor = weir_eventfd()
        guard descriptor >= 0 else { throw NetworkError("eventfd", code: -descriptor) }
    }

    deinit { Glibc.close(descriptor) }

    /// Says that the thread is about to sleep. What came before is for the thread to find: it looks after this call and
    /// before it sleeps.
    package func arm() {
        isAsleep.store(true, ordering: .relaxed)
        // Before the look at the rings. The worker writes a ring, then looks here: one of the two sees the other.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    /// Says that the thread is awake.
    package func disarm() {
        isAsleep.store(false, ordering: .relaxed)
        weir_eventfd_drain(descriptor)
    }

    /// Sleeps until there is news, `wake` is called or the time is over; not at all if `hasNews` (asked once) says so.
    package func wait(timeout: Interval, unless hasNews: () -> Bool) {
        arm()
        defer { disarm() }
        guard !hasNews() else { return }
        sleep(timeout)
    }

    /// Sleeps for that time or until `wake` is called; workers take the thread for awake, so news costs them nothing.
    package func pause(_ time: Interval) {
        sleep(time)
        weir_eventfd_drain(descriptor)
    }

    private func sleep(_ timeout: Interval) {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let milliseconds = max(0, timeout.nanoseconds / 1_000_000 + (timeout.nanoseconds % 1_000_000 > 0 ? 1 : 0))
        // An interrupted wait is as good as one that found news.
        _ = poll(&entry, 1, CInt(clamping: milliseconds))
    }

    /// The present wait returns, or the next one. Any thread.
    package func wake() { weir_eventfd_signal(descriptor) }

    /// To be called after something has been published, with a sequentially consistent fence between.
    func wakeIfAsleep() {
        // The exchange only where it is likely to succeed: most of the time the thread is at work.
        guard isAsleep.load(ordering: .relaxed), isAsleep.exchange(false, ordering: .relaxed) else { return }
        wake()
    }
}
