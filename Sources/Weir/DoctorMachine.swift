import FoundationEssentials
import Glibc
import LinuxNet
import SRTP
import Wire

/// What `Doctor` asks of the machine; a value of closures, so that tests can be any machine.
package struct DoctorMachine: Sendable {
    package enum Transport: String, Sendable {
        case tcp = "TCP"
        case udp = "UDP"
    }
    package enum Binding: Sendable, Equatable {
        case free, inUse, forbidden, noSuchAddress
        case failed(String)
    }

    package var bind: @Sendable (Transport, SocketAddress) -> Binding
    package var interfaces: @Sendable () -> [SocketAddress]
    /// Flags of the first processor, as the kernel names them.
    package var processorFlags: @Sendable () -> Set<String>
    package var processors: @Sendable () -> Int
    package var srtpBackends: @Sendable () -> [String]
    package var preferredBackend: @Sendable () -> String
    package var fileLimits: @Sendable () -> (soft: Int, hard: Int)
    /// A number below /proc/sys.
    package var kernelSetting: @Sendable (String) -> Int?
    /// `nil`: files can be made in the directory, or the directory itself can.
    package var cannotWrite: @Sendable (String) -> String?
    package var now: @Sendable () -> Date
    /// Bytes that may still be written below that path, or below the nearest folder above it that there is.
    package var freeSpace: @Sendable (String) -> Int? = { path in
        var folder = URL(fileURLWithPath: path).standardizedFileURL
        while true {
            var status = statvfs()
            if statvfs(folder.path, &status) == 0 {
                return Int(clamping: status.f_bavail).multipliedReportingOverflow(by: Int(status.f_frsize)).partialValue
            }
            guard folder.path != "/" else { return nil }
            folder.deleteLastPathComponent()
        }
    }
    /// Why files in that folder cannot be read; `nil`: they can, as far as the folder goes.
    package var cannotRead: @Sendable (String) -> String? = { path in
        var status = stat()
        guard stat(path, &status) == 0 else { return String(cString: strerror(errno)) }
        guard status.st_mode & S_IFMT == S_IFDIR else { return "it is no folder" }
        return access(path, R_OK | X_OK) == 0 ? nil : String(cString: strerror(errno))
    }
    /// Whether that file may be run.
    package var isProgram: @Sendable (String) -> Bool = { path in
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && access(path, X_OK) == 0
    }

    package init(
        bind: @escaping @Sendable (Transport, SocketAddress) -> Binding,
        interfaces: @escaping @Sendable () -> [SocketAddress],
        processorFlags: @escaping @Sendable () -> Set<String>, processors: @escaping @Sendable () -> Int,
        srtpBackends: @escaping @Sendable () -> [String], preferredBackend: @escaping @Sendable () -> String,
        fileLimits: @escaping @Sendable () -> (soft: Int, hard: Int),
        kernelSetting: @escaping @Sendable (String) -> Int?,
        cannotWrite: @escaping @Sendable (String) -> String?, now: @escaping @Sendable () -> Date
    ) {
        self.bind = bind
        self.interfaces = interfaces
        self.processorFlags = processorFlags
        self.processors = processors
        self.srtpBackends = srtpBackends
        self.preferredBackend = preferredBackend
        self.fileLimits = fileLimits
        self.kernelSetting = kernelSetting
        self.cannotWrite = cannotWrite
        self.now = now
    }

    /// This machine.
    package static let live = DoctorMachine(
        bind: { tryBinding($0, $1) }, interfaces: { InterfaceAddresses.all() },
        processorFlags: { flags(of: text("/proc/cpuinfo") ?? "") },
        processors: { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) },
        srtpBackends: { SRTPBackendKind.available.map(\.rawValue) },
        preferredBackend: { SRTPBackendKind.preferred.rawValue },
        fileLimits: {
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            return (Int(clamping: limit.rlim_cur), Int(clamping: limit.rlim_max))
        },
        kernelSetting: { name in text("/proc/sys/\(name)").flatMap { Int($0.trimmingSpaces) } },
        cannotWrite: { reasonAgainstWriting($0) }, now: { Date() })

    /// `flags` of x86, `Features` of ARM; the first processor stands for all.
    static func flags(of cpuinfo: String) -> Set<String> {
        for line in cpuinfo.split(separator: "\n") where line.hasPrefix("flags") || line.hasPrefix("Features") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            return Set(line[line.index(after: colon)...].split(separator: " ").map(String.init))
        }
        return []
    }

    private static func text(_ path: String) -> String? {
        try? String(contentsOf: URL(fileURLWithPath: path), encoding: .utf8)
    }

    /// Binds for a moment, without SO_REUSEPORT: beside a running Weir that must fail.
    static func tryBinding(_ transport: Transport, _ address: SocketAddress) -> Binding {
        let isIPv4 = address.family == .ipv4
        let type = transport == .tcp ? Int32(SOCK_STREAM.rawValue) : Int32(SOCK_DGRAM.rawValue)
        let descriptor = socket(isIPv4 ? AF_INET : AF_INET6, type | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return .failed(String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var on: CInt = 1
        let size = socklen_t(MemoryLayout<CInt>.size)
        // As servers do: connections of an earlier run that linger do not count.
        if transport == .tcp { setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, size) }
        var result: CInt
        if isIPv4 {
            var name = sockaddr_in()
            name.sin_family = sa_family_t(AF_INET)
            name.sin_port = address.port.bigEndian
            name.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.low).bigEndian
            result = withUnsafePointer(to: &name) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        } else {
            setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &on, size)
            var name = sockaddr_in6()
            name.sin6_family = sa_family_t(AF_INET6)
            name.sin6_port = address.port.bigEndian
            name.sin6_scope_id = address.scope
            withUnsafeMutableBytes(of: &name.sin6_addr) { bytes in
                bytes.storeBytes(of: address.high.bigEndian, as: UInt64.self)
                bytes.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            result = withUnsafePointer(to: &name) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
                }
            }
        }
        // SO_REUSEADDR lets two sockets bind; listening shows whether another listens.
        if result == 0, transport == .tcp { result = listen(descriptor, 1) }
        guard result != 0 else { return .free }
        switch errno {
        case EADDRINUSE: return .inUse
        case EACCES, EPERM: return .forbidden
        case EADDRNOTAVAIL: return .noSuchAddress
        case let code: return .failed(String(cString: strerror(code)))
        }
    }

    /// Tries with a file; when the directory is not there yet, asks the nearest one above that is.
    static func reasonAgainstWriting(_ directory: String) -> String? {
        var facts = stat()
        var path = directory
        while stat(path, &facts) != 0 {
            guard errno == ENOENT else { return String(cString: strerror(errno)) }
            guard let slash = path.lastIndex(of: "/") else {
                path = "."
                break
            }
            path = slash == path.startIndex ? "/" : String(path[..<slash])
        }
        guard stat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFDIR else { return "\(path) is not a directory" }
        guard path == directory else {
            return access(path, W_OK | X_OK) == 0 ? nil : "is not there and cannot be made in \(path)"
        }
        let probe = "\(directory)/.weir-doctor-\(getpid())"
        let descriptor = open(probe, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return "not writable: \(String(cString: strerror(errno)))" }
        close(descriptor)
        unlink(probe)
        return nil
    }
}
