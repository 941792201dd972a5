import Glibc
import Synchronization

/// The wall clock, and names for unfinished recordings.
package enum RecordingClock {
    private static let counter = Atomic<UInt64>(0)

    package static func now() -> WallMillis {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// Unique in the folder, also after restarts; sorts by time.
    package static func newID() -> String {
        let number = counter.add(1, ordering: .relaxed).newValue
        return "\(now())-\(getpid())-\(number)"
    }

    /// ISO 8601, as containers want it. MP4 keeps whole seconds of it.
    package static func timestamp(_ time: WallMillis) -> String {
        var seconds = time_t(time / 1_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ value: Int32) -> String { (value < 10 ? "0" : "") + String(value) }
        let millis = String(1_000 + time % 1_000).dropFirst()
        return "\(parts.tm_year + 1_900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T"
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)).\(millis)000Z"
    }

    /// What every file says of its beginning. `date` has the milliseconds in MP4, too, as free text (©day).
    package static func metadata(_ startedAt: WallMillis) -> [String: String] {
        ["creation_time": timestamp(startedAt), "date": timestamp(startedAt)]
    }
}
