import CLinuxNet
import Glibc
import MediaEngine
import Testing
import Wire

/// Real sockets on loopback: what is sent there has arrived when the call returns.
@Suite struct SendSocketsTests {
    /// A non-blocking UDP socket with its batch memory.
    private final class Socket {
        let descriptor: CInt
        private let io = weir_io_new()!
        private let buffer = UnsafeMutablePointer<UInt8>.allocate(capacity: 2048)

        init(_ address: SocketAddress) throws {
            var c = address.c
            descriptor = weir_udp_open(&c, 0, 0)
            try #require(descriptor >= 0)
        }

        deinit {
            Glibc.close(descriptor)
            weir_io_free(io)
            buffer.deallocate()
        }

        var port: UInt16 {
            var address = weir_address()
            _ = weir_local_address(descriptor, &address)
            return address.port
        }

        func send(_ byte: UInt8, to address: SocketAddress) -> Bool {
            var byte = byte
            return withUnsafePointer(to: &byte) {
                var message = weir_message(
                    data: $0, length: 1, segment: 0, remote: address.c, local: weir_address())
                return weir_send(io, descriptor, &message, 1, 0) == 1
            }
        }

        /// Source and first byte of what has come, until nothing is left.
        func received() -> [(from: SocketAddress, byte: UInt8)] {
            var all: [(SocketAddress, UInt8)] = []
            var datagram = weir_datagram()
            var buffers: [UnsafeMutablePointer<UInt8>?] = [buffer]
            while weir_receive(io, descriptor, &buffers, 1, 2048, &datagram) == 1 {
                all.append((SocketAddress(datagram.remote), buffer[0]))
            }
            return all
        }
    }

    private static let loopback: UInt32 = 0x7f00_0001

    private func send(_ byte: UInt8, through senders: SendSockets, _ index: Int32, to port: UInt16) -> CInt {
        let io = weir_io_new()!
        defer { weir_io_free(io) }
        var byte = byte
        return withUnsafePointer(to: &byte) {
            var message = weir_message(
                data: $0, length: 1, segment: 0, remote: SocketAddress(ipv4: Self.loopback, port: port).c,
                local: SocketAddress(ipv4: Self.loopback, port: 0).c)
            return senders.send(io, index, &message, 1)
        }
    }

    @Test func packetsLeaveFromTheAddressThatPeersKnow() throws {
        let receiver = try Socket(SocketAddress(ipv4: 0, port: 0))
        let peer = try Socket(SocketAddress(ipv4: Self.loopback, port: 0))
        let senders = SendSockets(receiving: [receiver.descriptor], port: receiver.port, bufferSize: 1 << 16)
        // Loopback answers for the whole of 127/8.
        for address in [Self.loopback, Self.loopback + 1] {
            let index = senders.index(for: SocketAddress(ipv4: address, port: 0), receivedAt: 0)
            #expect(index > 0)
            #expect(send(7, through: senders, index, to: peer.port) == 1)
            let received = peer.received()
            #expect(received.map(\.from) == [SocketAddress(ipv4: address, port: receiver.port)])
            #expect(senders.index(for: SocketAddress(ipv4: address, port: 9), receivedAt: 0) == index)
        }
        #expect(senders.descriptors.count == 2)
    }

    @Test func everythingComesInWhereItDidBefore() throws {
        // Two workers share the port.
        let first = try Socket(SocketAddress(ipv4: 0, port: 0))
        let second = try Socket(SocketAddress(ipv4: 0, port: first.port))
        let peers = try (0..<64).map { _ in try Socket(SocketAddress(ipv4: Self.loopback, port: 0)) }
        let server = SocketAddress(ipv4: Self.loopback, port: first.port)
        for peer in peers { #expect(peer.send(1, to: server)) }
        let before = (first.received().map(\.from), second.received().map(\.from))
        #expect(before.0.count + before.1.count == 64 && !before.0.isEmpty && !before.1.isEmpty)

        let senders = [first, second].map {
            SendSockets(receiving: [$0.descriptor], port: first.port, bufferSize: 0)
        }
        for sender in senders {
            let index = sender.index(for: SocketAddress(ipv4: Self.loopback, port: 0), receivedAt: 0)
            #expect(index == 1)
            for peer in peers { #expect(send(2, through: sender, index, to: peer.port) == 1) }
        }
        for peer in peers {
            #expect(peer.received().count == 2)
            #expect(peer.send(3, to: server))
        }
        // Each at the worker that had it before.
        #expect(first.received().map(\.from) == before.0)
        #expect(second.received().map(\.from) == before.1)
    }

    @Test func addressesThatCannotBeHadAreServedByTheSocketThatReceives() throws {
        let receiver = try Socket(SocketAddress(ipv4: 0, port: 0))
        let senders = SendSockets(receiving: [receiver.descriptor], port: receiver.port, bufferSize: 0)
        let elsewhere = try #require(SocketAddress(ip: "192.0.2.1", port: 0))
        #expect(senders.index(for: elsewhere, receivedAt: 0) == 0)
        #expect(senders.descriptors == [])
        let peer = try Socket(SocketAddress(ipv4: Self.loopback, port: 0))
        #expect(send(1, through: senders, 0, to: peer.port) == 1)
        #expect(peer.received().count == 1)
    }

    @Test func sendersAreBounded() throws {
        let receiver = try Socket(SocketAddress(ipv4: 0, port: 0))
        let senders = SendSockets(receiving: [receiver.descriptor], port: receiver.port, bufferSize: 0)
        for host in 0..<UInt32(SendSockets.maxSenders) {
            let address = SocketAddress(ipv4: Self.loopback + host, port: 0)
            #expect(senders.index(for: address, receivedAt: 0) == Int32(host) + 1)
        }
        #expect(senders.index(for: SocketAddress(ipv4: Self.loopback + 99, port: 0), receivedAt: 0) == 0)
        #expect(senders.descriptors.count == SendSockets.maxSenders)
    }

    @Test func withoutReceivingSocketsIndicesAreLeftAlone() {
        let senders = SendSockets(receiving: [], port: 1, bufferSize: 0)
        #expect(senders.index(for: SocketAddress(ipv4: Self.loopback, port: 0), receivedAt: 3) == 3)
    }
}
