import Foundation

/// A few threads that take jobs in order: work that blocks on disks and processes, away from media threads and from
/// the threads of Swift concurrency. Threads are started with the first jobs and end with `stop`.
package final class WorkQueue<Job: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private let name: String
    private let threads: Int
    private let capacity: Int
    private let work: @Sendable (Job) -> Void
    // Behind `condition`:
    private var jobs: [Job] = []
    private var running = 0
    private var busy = 0
    private var idleWaiters = 0
    private var isStopped = false

    /// - Parameter capacity: jobs that may wait.
    package init(name: String, threads: Int, capacity: Int, work: @escaping @Sendable (Job) -> Void) {
        self.name = name
        self.threads = max(1, threads)
        self.capacity = capacity
        self.work = work
    }

    /// False: too many wait, or the queue has been stopped; the job is not taken.
    package func add(_ job: Job) -> Bool {
        condition.withLock {
            guard !isStopped, jobs.count < capacity else { return false }
            jobs.append(job)
            if running < threads, jobs.count > running - busy {
                running += 1
                Thread { self.run() }.start()
            }
            // One of those who wait may wait for the end of all work.
            if idleWaiters > 0 { condition.broadcast() } else { condition.signal() }
            return true
        }
    }

    /// Waiting and running jobs.
    package var count: Int { condition.withLock { jobs.count + busy } }

    /// Takes nothing more, forgets what waits and returns when what runs has ended.
    ///
    /// - Returns: the jobs that were never begun.
    @discardableResult
    package func stop() -> [Job] {
        condition.withLock {
            isStopped = true
            let rest = jobs
            jobs = []
            condition.broadcast()
            while running > 0 { condition.wait() }
            return rest
        }
    }

    /// Returns when nothing waits and nothing runs.
    package func waitUntilIdle() {
        condition.withLock {
            idleWaiters += 1
            while !(jobs.isEmpty && busy == 0) { condition.wait() }
            idleWaiters -= 1
        }
    }

    private func run() {
        // Only a thread itself can give its name to the kernel.
        Thread.current.name = name
        condition.lock()
        while true {
            while jobs.isEmpty && !isStopped { condition.wait() }
            if jobs.isEmpty { break }
            let job = jobs.removeFirst()
            busy += 1
            condition.unlock()
            work(job)
            condition.lock()
            busy -= 1
            // Threads without work are woken by it alone.
            if idleWaiters > 0, busy == 0, jobs.isEmpty { condition.broadcast() }
        }
        running -= 1
        condition.broadcast()
        condition.unlock()
    }
}

extension NSCondition {
    fileprivate func withLock<Value>(_ body: () -> Value) -> Value {
        lock()
        defer { unlock() }
        return body()
    }
}
