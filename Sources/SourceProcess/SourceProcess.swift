import CSourceProcess
import Glibc
import RTSP
import Wire

/// The whole of a process that reads one source for a server: it is told which one, and sends its media until the source or
/// the server ends. Whatever libavformat does to the process, the server loses this source and nothing else.
package enum SourceProcess {
    /// The end of the pair of sockets that the server has given it.
    private static let link: CInt = 3
    /// What libraries write to standard error, a file in memory.
    private static let mostLog: UInt64 = 64 << 10

    /// - Parameters:
    ///   - parent: of the server, with which this process ends.
    ///   - memory: bytes of address space.
    /// - Returns: status to exit with.
    package static func run(parent: Int32, memory: Int) -> CInt {
        guard weir_source_limit(parent, UInt64(clamping: memory), mostLog) == 0 else {
            return say("cannot limit the process: \(String(cString: strerror(errno)))")
        }
        guard let order = readOrder() else { return say("no order from the server") }
        guard weir_source_confine(order.folder) >= 0 else {
            return say("cannot take the file system away: \(String(cString: strerror(errno)))")
        }
        guard let url = SourceURL(order.url) else { return end(.badURL) }
        var rules = order.hostGuard
        // There is no host but this one; addresses are checked all the same.
        if url.isListening { rules.hosts = [] }
        ConnectionGuard.install(rules)
        return SourceSession(url: url, order: order).run()
    }

    private static func say(_ text: String) -> CInt {
        let bytes = Array("weir pull-source: \(text)\n".utf8)
        _ = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
        return 1
    }

    // MARK: The server

    private static func readOrder() -> SourceOrder? {
        var parser = RTSPParser(limits: SourceOrder.limits)
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = Glibc.read(link, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            parser.append(Array(buffer[..<count]))
            do {
                if let message = try parser.next({ _, _ in }) { return SourceOrder(message) }
            } catch {
                return nil
            }
        }
    }

    /// Waits until the server takes it. - Returns: false: the server is gone.
    static func write(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { bytes in
            var at = 0
            while at < bytes.count {
                let count = Glibc.write(link, bytes.baseAddress?.advanced(by: at), bytes.count - at)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return false }
                at += count
            }
            return true
        }
    }

    static func end(_ failure: RTSPPullFailure) -> CInt { write(SourceReport.bytes(failure)) ? 0 : 1 }

    static var now: Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
    }

    static func wallClock() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(clamping: time.tv_sec) &* 1_000_000_000 &+ UInt64(clamping: time.tv_nsec)
    }
}
