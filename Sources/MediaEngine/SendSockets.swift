import CLinuxNet
import Glibc
import Wire

/// The sockets a worker sends from. Those that receive could send everything, with the source address beside each
/// message; but the kernel wakes whoever waits for a socket each time that one of its packets has left, and it parses
/// the source address each time. So media leaves through a second socket per local address, which nobody waits for and
/// whose address is its own. One thread only.
///
/// Indices are those of the receiving sockets first, then of the senders.
package final class SendSockets {
    /// Local addresses with a sender; the packets of more leave through the sockets that receive.
    package static let maxSenders = 32

    private let receiving: [CInt]
    private let port: UInt16
    private let bufferSize: Int
    /// Descriptors, by local address without port; nil: it cannot be had.
    private var senders: [(local: SocketAddress, descriptor: CInt?)] = []

    /// - Parameters:
    ///   - receiving: not closed by this object.
    ///   - bufferSize: bytes; 0: the kernel's default.
    package init(receiving: [CInt], port: UInt16, bufferSize: Int) {
        self.receiving = receiving
        self.port = port
        self.bufferSize = bufferSize
    }

    deinit { for descriptor in descriptors { Glibc.close(descriptor) } }

    /// Those of the senders.
    package var descriptors: [CInt] { senders.compactMap(\.descriptor) }

    /// Which socket sends from `local` to a peer whose packets come in at `socket`.
    package func index(for local: SocketAddress, receivedAt socket: Int32) -> Int32 {
        guard receiving.indices.contains(Int(socket)) else { return socket }
        var address = local
        address.port = 0
        let place = senders.firstIndex { $0.local == address } ?? open(address)
        guard let place, senders[place].descriptor != nil else { return socket }
        return Int32(receiving.count + place)
    }

    private func open(_ local: SocketAddress) -> Int? {
        guard senders.count < Self.maxSenders else { return nil }
        var address = local
        address.port = port
        var c = address.c
        let descriptor = weir_udp_open_sender(&c, CInt(bufferSize))
        senders.append((local, descriptor >= 0 ? descriptor : nil))
        return senders.count - 1
    }

    /// As `weir_send`.
    package func send(
        _ io: OpaquePointer, _ socket: Int32, _ messages: UnsafePointer<weir_message>, _ count: CInt
    ) -> CInt {
        if Int(socket) < receiving.count { return weir_send(io, receiving[Int(socket)], messages, count, 0) }
        guard let descriptor = senders[Int(socket) - receiving.count].descriptor else { return -EBADF }
        return weir_send(io, descriptor, messages, count, 1)
    }
}
