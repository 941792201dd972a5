import Glibc

/// What `/proc/PID/stat` tells (proc_pid_stat(5)).
package struct ProcStat: Equatable {
    /// Seconds in user mode and in the kernel, as the kernel's ticks count them.
    package var userSeconds: Double
    package var systemSeconds: Double
    /// Ticks since boot; tells two processes of the same number apart.
    package var startTime: UInt64
    package var name: String

    /// - Parameter ticks: per second.
    package init?(_ text: String, ticks: Double) {
        // The name stands in parentheses and may itself contain any of them, and spaces.
        guard let open = text.firstIndex(of: "("), let close = text.lastIndex(of: ")"), open < close else { return nil }
        name = String(text[text.index(after: open)..<close])
        // The state, field 3, is the first one here.
        let fields = text[text.index(after: close)...].split(separator: " ")
        guard fields.count > 19, let user = Double(fields[11]), let system = Double(fields[12]),
            let start = UInt64(fields[19])
        else { return nil }
        userSeconds = user / ticks
        systemSeconds = system / ticks
        startTime = start
    }
}

/// Voluntary switches (the thread waits) and others (its time is up).
package struct ContextSwitches: Equatable, Sendable {
    var voluntary = 0
    var involuntary = 0

    package init(voluntary: Int = 0, involuntary: Int = 0) {
        self.voluntary = voluntary
        self.involuntary = involuntary
    }

    static func + (a: Self, b: Self) -> Self {
        Self(voluntary: a.voluntary + b.voluntary, involuntary: a.involuntary + b.involuntary)
    }

    static func - (a: Self, b: Self) -> Self {
        Self(voluntary: a.voluntary - b.voluntary, involuntary: a.involuntary - b.involuntary)
    }
}

/// Reading files of `/proc`.
package enum ProcFiles {
    private static let limit = 1 << 20

    /// - Returns: nil if it cannot be read.
    static func read(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while bytes.count < limit {
            let count = Glibc.read(file, &chunk, chunk.count)
            if count < 0 { return nil }
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The number behind `name:` in lines such as `VmRSS:  1234 kB`.
    package static func number(_ name: String, in text: String) -> Int? {
        for line in text.split(separator: "\n") {
            guard line.hasPrefix(name), line.dropFirst(name.count).first == ":" else { continue }
            return line.dropFirst(name.count + 1).split { $0 == " " || $0 == "\t" }.first.flatMap { Int($0) }
        }
        return nil
    }

    package static func switches(in status: String) -> ContextSwitches? {
        guard let voluntary = number("voluntary_ctxt_switches", in: status),
            let involuntary = number("nonvoluntary_ctxt_switches", in: status)
        else { return nil }
        return ContextSwitches(voluntary: voluntary, involuntary: involuntary)
    }

    /// Names of the threads of a process; empty when it is gone.
    static func threads(of process: Int32) -> [Int32] {
        guard let folder = opendir("/proc/\(process)/task") else { return [] }
        defer { closedir(folder) }
        var threads: [Int32] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let thread = Int32(name) { threads.append(thread) }
        }
        return threads
    }
}
