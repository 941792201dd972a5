import CLinuxNet
import Glibc

/// Counts the system calls of all threads of a process by the kernel's tracepoint, which needs rights that most
/// programs do not have. Made and read by one task.
final class SystemCallCounter {
    private var descriptors: [CInt] = []

    /// Begins to count; nil and the reason when the kernel does not let us.
    static func start(process: Int32) -> (counter: SystemCallCounter?, refusal: String?) {
        let counter = SystemCallCounter()
        for thread in ProcFiles.threads(of: process) {
            let descriptor = weir_count_syscalls_open(thread)
            if descriptor >= 0 {
                counter.descriptors.append(descriptor)
            } else if -descriptor != ESRCH {
                return (nil, reason(code: -descriptor))
            }
        }
        guard !counter.descriptors.isEmpty else { return (nil, "the process has no threads: it has ended") }
        return (counter, nil)
    }

    private static func reason(code: CInt) -> String {
        switch code {
        case ENOENT: "tracefs is not mounted (mount -t tracefs tracefs /sys/kernel/tracing)"
        case EACCES, EPERM: "not permitted (run as root, or set kernel.perf_event_paranoid to -1)"
        case EMFILE: "too many open files (raise ulimit -n)"
        default: "perf_event_open: \(String(cString: strerror(code)))"
        }
    }

    /// System calls since the beginning.
    func total() -> Int {
        var sum = 0
        for descriptor in descriptors {
            var count: UInt64 = 0
            if read(descriptor, &count, MemoryLayout<UInt64>.size) == MemoryLayout<UInt64>.size { sum += Int(count) }
        }
        return sum
    }

    deinit {
        for descriptor in descriptors { close(descriptor) }
    }
}
