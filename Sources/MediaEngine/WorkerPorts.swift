import CLinuxNet
import Glibc
import LinuxNet
import Wire

/// The port of WebRTC, bound for all workers by UDP and, if wanted, by TCP, and claimed against a second server.
struct WorkerPorts: ~Copyable {
    let port: UInt16
    /// By worker: a socket for each address.
    let udp: [[CInt]]
    let tcp: [[CInt]]
    private let lock: PortLock

    private static let attempts = 64

    /// Of port 0: any that is free for both.
    init(_ configuration: EngineConfiguration) throws {
        guard configuration.port == 0 else {
            self = try WorkerPorts(port: configuration.port, configuration)
            return
        }
        var last: (any Error)?
        for _ in 0..<Self.attempts {
            do {
                self = try WorkerPorts(port: try configuration.freePort(), configuration)
                return
            } catch { last = error }
        }
        throw last ?? NetworkError("bind a free port", code: EADDRINUSE)
    }

    private init(port: UInt16, _ configuration: EngineConfiguration) throws {
        let lock = try PortLock(port: port)
        var udp = [[CInt]](repeating: [], count: configuration.workers)
        var tcp = udp
        do {
            for worker in 0..<configuration.workers {
                for var address in configuration.listen {
                    address.port = port
                    var c = address.c
                    let fd = weir_udp_open(&c, CInt(configuration.receiveBuffer), CInt(configuration.sendBuffer))
                    if fd == -EAFNOSUPPORT || (fd == -EADDRNOTAVAIL && address.family == .ipv6) { continue }
                    guard fd >= 0 else { throw NetworkError("bind UDP \(address)", code: -fd) }
                    udp[worker].append(fd)
                    guard configuration.tcp else { continue }
                    let listener = weir_tcp_listen(&c, 512)
                    guard listener >= 0 else { throw NetworkError("listen on TCP \(address)", code: -listener) }
                    tcp[worker].append(listener)
                }
            }
            guard udp.allSatisfy({ !$0.isEmpty }) else {
                throw NetworkError("no listen address could be bound", code: EADDRNOTAVAIL)
            }
        } catch {
            for descriptor in udp.joined() { Glibc.close(descriptor) }
            for descriptor in tcp.joined() { Glibc.close(descriptor) }
            throw error
        }
        (self.port, self.udp, self.tcp) = (port, udp, tcp)
        self.lock = lock
    }

    consuming func takeLock() -> PortLock { lock }
}

extension EngineConfiguration {
    /// One that nobody has for UDP; somebody may take it before it is bound.
    func freePort() throws -> UInt16 {
        var any = (listen.first ?? SocketAddress(ipv4: 0, port: 0)).c
        any.port = 0
        let fd = weir_udp_open(&any, 0, 0)
        guard fd >= 0 else { throw NetworkError("bind UDP port 0", code: -fd) }
        defer { Glibc.close(fd) }
        var bound = weir_address()
        _ = weir_local_address(fd, &bound)
        return bound.port
    }
}
