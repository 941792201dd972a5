import Glibc

/// Time of day for names and lines of files.
struct WallTime {
    let unixNanoseconds: Int64

    static func now() -> WallTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(unixNanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    /// `2026-11-21T18:30:15.123Z`
    var text: String { format(date: "-", time: ":") }

    /// `20261121T183015.123Z`, which no file system minds.
    var fileText: String { format(date: "", time: "") }

    private func format(date: String, time: String) -> String {
        var seconds = time_t(unixNanoseconds / 1_000_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ value: CInt) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let thousandths = String(unixNanoseconds % 1_000_000_000 / 1_000_000)
        let day = "\(parts.tm_year + 1900)\(date)\(two(parts.tm_mon + 1))\(date)\(two(parts.tm_mday))"
        let clock = "\(two(parts.tm_hour))\(time)\(two(parts.tm_min))\(time)\(two(parts.tm_sec))"
        return "\(day)T\(clock).\(String(repeating: "0", count: 3 - thousandths.count))\(thousandths)Z"
    }
}
