import CLinuxNet
import Glibc
import LinuxNet
import Wire

/// The sockets of one worker on the two ports that all plain RTP clients share, an even one for RTP and the next for RTCP
/// (RFC 3550 §11); clients are told apart by their addresses. Every worker has them, as it has those of the media port.
/// One thread only.
///
/// Among the sockets of a worker theirs have numbers of their own: from `rtpBase` and `rtcpBase` on.
package final class PlainSockets {
    static let rtpBase: Int32 = 1 << 8
    static let rtcpBase: Int32 = 1 << 9

    struct Pair {
        var family: SocketAddress.Family
        var rtp: CInt
        var rtcp: CInt
    }

    let pairs: [Pair]
    private let rtpSenders: SendSockets

    init(_ pairs: [Pair], port: UInt16, bufferSize: Int) {
        self.pairs = pairs
        rtpSenders = SendSockets(receiving: pairs.map(\.rtp), port: port, bufferSize: bufferSize)
    }

    /// Those that nothing is received from.
    var senderDescriptors: [CInt] { rtpSenders.descriptors }

    /// Numbers of the sockets that send media and reports from `local`. `nil`: there is none of its family.
    func numbers(from local: SocketAddress) -> (rtp: Int32, rtcp: Int32)? {
        guard let place = pairs.firstIndex(where: { $0.family == local.family }).map(Int32.init) else { return nil }
        return (Self.rtpBase + rtpSenders.index(for: local, receivedAt: place), Self.rtcpBase + place)
    }

    /// As `weir_send`.
    func send(
        _ io: OpaquePointer, _ socket: Int32, _ messages: UnsafePointer<weir_message>, _ count: CInt
    ) -> CInt {
        guard socket >= Self.rtcpBase else { return rtpSenders.send(io, socket - Self.rtpBase, messages, count) }
        let place = Int(socket - Self.rtcpBase)
        guard pairs.indices.contains(place) else { return -EBADF }
        return weir_send(io, pairs[place].rtcp, messages, count, 0)
    }

    func close() {
        for pair in pairs {
            Glibc.close(pair.rtp)
            Glibc.close(pair.rtcp)
        }
    }
}

/// The two ports, bound for all workers and claimed against a second server.
struct PlainPorts: ~Copyable {
    let port: UInt16
    let families: Set<SocketAddress.Family>
    let sockets: [[PlainSockets.Pair]]
    private let lock: PortLock

    private static let attempts = 64

    /// - Parameter wanted: even; 0: any free pair.
    init(_ wanted: UInt16, configuration: EngineConfiguration) throws {
        guard wanted & 1 == 0 else {
            throw NetworkError("RTP port \(wanted): use an even one, RTCP has the next (RFC 3550 §11)", code: EINVAL)
        }
        guard wanted == 0 else {
            self = try PlainPorts(pair: wanted, configuration)
            return
        }
        var last: (any Error)?
        for _ in 0..<Self.attempts {
            do {
                self = try PlainPorts(pair: try configuration.freePort() & ~1, configuration)
                return
            } catch { last = error }
        }
        throw last ?? NetworkError("bind a free pair of UDP ports", code: EADDRINUSE)
    }

    private init(pair port: UInt16, _ configuration: EngineConfiguration) throws {
        let lock = try PortLock(port: port)
        var all: [[PlainSockets.Pair]] = []
        func open(_ address: SocketAddress, _ port: UInt16) throws -> CInt? {
            var address = address
            address.port = port
            var c = address.c
            let fd = weir_udp_open(&c, CInt(configuration.receiveBuffer), CInt(configuration.sendBuffer))
            if fd == -EAFNOSUPPORT || (fd == -EADDRNOTAVAIL && address.family == .ipv6) { return nil }
            guard fd >= 0 else {
                throw NetworkError("bind UDP \(address) for RTSP (another rtsp.udp_port, or 0 for none)", code: -fd)
            }
            return fd
        }
        do {
            for _ in 0..<configuration.workers {
                all.append([])
                for address in configuration.listen {
                    guard let rtp = try open(address, port) else { continue }
                    all[all.count - 1].append(.init(family: address.family, rtp: rtp, rtcp: -1))
                    guard let rtcp = try open(address, port + 1) else {
                        throw NetworkError("bind UDP \(address)", code: EADDRNOTAVAIL)
                    }
                    all[all.count - 1][all[all.count - 1].count - 1].rtcp = rtcp
                }
            }
        } catch {
            Self.close(all)
            throw error
        }
        self.port = port
        families = Set(all.joined().map(\.family))
        sockets = all
        self.lock = lock
    }

    consuming func takeLock() -> PortLock { lock }

    static func close(_ sockets: [[PlainSockets.Pair]]) {
        for pair in sockets.joined() {
            Glibc.close(pair.rtp)
            if pair.rtcp >= 0 { Glibc.close(pair.rtcp) }
        }
    }
}
