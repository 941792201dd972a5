import CLinuxNet
import Glibc
import LinuxNet
import MediaEngine
import SRTP
import Testing
import Wire

@Suite struct EgressTests {
    /// A kernel that does what a test tells it to.
    private final class Kernel {
        struct Message {
            var socket: Int32
            var port: UInt16
            var segment: Int
            var bytes: [UInt8]
            var packets: [[UInt8]] {
                stride(from: 0, to: bytes.count, by: max(segment, 1)).map {
                    Array(bytes[$0..<min($0 + segment, bytes.count)])
                }
            }
        }
        var taken: [Message] = []
        var calls = 0
        /// Answer to the next calls; afterwards everything is taken.
        var answers: [CInt] = []

        func transmit(_ socket: Int32, _ messages: UnsafePointer<weir_message>, _ count: CInt) -> CInt {
            calls += 1
            let answer = answers.isEmpty ? count : min(answers.removeFirst(), count)
            for i in 0..<Int(max(0, answer)) {
                let message = messages[i]
                taken.append(
                    Message(
                        socket: socket, port: message.remote.port, segment: Int(message.segment),
                        bytes: Array(UnsafeBufferPointer(start: message.data, count: Int(message.length)))))
            }
            return answer
        }
    }

    private static func make(gso: Bool = true) throws -> (Kernel, Egress) {
        let kernel = Kernel()
        let egress = Egress(machine: try SRTPMachine(backend: .openSSL), gso: gso) { kernel.transmit($0, $1, $2) }
        return (kernel, egress)
    }

    private static func address(_ port: UInt16) -> weir_address { SocketAddress(ipv4: 0x7f00_0001, port: port).c }

    private static func send(_ egress: Egress, _ bytes: [UInt8], to port: UInt16 = 1, socket: Int32 = 0) {
        egress.send(bytes, socket: socket, remote: address(port), local: address(0))
    }

    private static func packet(_ mark: UInt8, _ count: Int) -> [UInt8] {
        [mark] + [UInt8](repeating: 0, count: count - 1)
    }

    @Test func neighboursOfOneSizeAndDestinationBecomeOneMessage() throws {
        let (kernel, egress) = try Self.make()
        for mark in 0..<5 as Range<UInt8> { Self.send(egress, Self.packet(mark, 100)) }
        egress.flush()
        #expect(kernel.taken.count == 1 && kernel.taken[0].segment == 100)
        #expect(kernel.taken[0].packets == (0..<5).map { Self.packet($0, 100) })
        #expect(egress.packetsSent == 5 && egress.messagesSent == 1 && egress.runsSent == (1, 5))
    }

    @Test func aShorterPacketClosesTheMessageAndALongerOneBeginsAnother() throws {
        let (kernel, egress) = try Self.make()
        let sizes = [100, 100, 60, 60, 60, 100]
        for (mark, size) in sizes.enumerated() { Self.send(egress, Self.packet(UInt8(mark), size)) }
        egress.flush()
        #expect(kernel.taken.map(\.bytes.count) == [260, 120, 100])
        #expect(kernel.taken.flatMap(\.packets) == sizes.enumerated().map { Self.packet(UInt8($0), $1) })
    }

    @Test func destinationsAndSocketsAreKeptApart() throws {
        let (kernel, egress) = try Self.make()
        for (port, socket) in [(1, 0), (2, 0), (2, 1), (1, 1)] as [(UInt16, Int32)] {
            Self.send(egress, Self.packet(UInt8(port), 50), to: port, socket: socket)
        }
        egress.flush()
        #expect(kernel.taken.map(\.port) == [1, 2, 2, 1] && kernel.taken.map(\.socket) == [0, 0, 1, 1])
        #expect(kernel.calls == 2, "one call per socket")
    }

    @Test func aMessageStaysWithinTheKernelsLimits() throws {
        let (kernel, egress) = try Self.make()
        for _ in 0..<200 { Self.send(egress, Self.packet(1, 1200)) }
        for _ in 0..<200 { Self.send(egress, Self.packet(2, 40)) }
        egress.flush()
        #expect(kernel.taken.allSatisfy { $0.bytes.count <= 65_507 && $0.packets.count <= 64 })
        #expect(kernel.taken.reduce(0) { $0 + $1.packets.count } == 400)
    }

    @Test func withoutSegmentationEveryPacketIsAMessage() throws {
        let (kernel, egress) = try Self.make(gso: false)
        for mark in 0..<5 as Range<UInt8> { Self.send(egress, Self.packet(mark, 100)) }
        egress.flush()
        #expect(kernel.taken.map(\.bytes) == (0..<5).map { Self.packet($0, 100) })
    }

    @Test func moreThanTheArenaHoldsIsSentOnTheWay() throws {
        let (kernel, egress) = try Self.make()
        for i in 0..<3000 { Self.send(egress, Self.packet(UInt8(i % 251), 1000), to: UInt16(i % 7 + 1)) }
        egress.flush()
        let packets = kernel.taken.flatMap(\.packets)
        #expect(packets.count == 3000 && packets.enumerated().allSatisfy { $1[0] == UInt8($0 % 251) })
        #expect(egress.packetsSent == 3000 && egress.packetsDropped == 0)
    }

    @Test func anOversizedPacketIsNotSent() throws {
        let (kernel, egress) = try Self.make()
        Self.send(egress, [UInt8](repeating: 0, count: Egress.packetRoom + 1))
        egress.flush()
        #expect(kernel.taken.isEmpty)
    }

    @Test func whatAFullBufferRefusesWaitsAndKeepsItsOrder() throws {
        let (kernel, egress) = try Self.make()
        for port in 1...6 as ClosedRange<UInt16> { Self.send(egress, Self.packet(UInt8(port), 100), to: port) }
        kernel.answers = [2, -EAGAIN]
        egress.flush()
        #expect(kernel.taken.map(\.port) == [1, 2] && egress.hasBacklog)
        Self.send(egress, Self.packet(7, 100), to: 7)
        kernel.answers = [1, -ENOBUFS]
        egress.flush()
        #expect(kernel.taken.map(\.port) == [1, 2, 3] && egress.hasBacklog)
        egress.flush()
        #expect(kernel.taken.map(\.port) == [1, 2, 3, 4, 5, 6, 7] && !egress.hasBacklog)
        #expect(egress.packetsSent == 7 && egress.packetsDropped == 0 && egress.messagesSent == 7)
        #expect(egress.runsSent == (0, 0))
    }

    @Test func theBacklogIsBoundedAndLossesAreCounted() throws {
        let (kernel, egress) = try Self.make()
        kernel.answers = [CInt](repeating: -EAGAIN, count: 10_000)
        for i in 0..<3000 {
            Self.send(egress, Self.packet(1, 1000), to: UInt16(i + 1))
            if i % 100 == 99 { egress.flush() }
        }
        egress.flush()
        kernel.answers = []
        egress.flush()
        #expect(!egress.hasBacklog && kernel.taken.count <= 512 && kernel.taken.count >= 300)
        #expect(UInt64(kernel.taken.count) + egress.packetsDropped == 3000)
        #expect(kernel.taken.last?.port == 3000, "the latest stay")
    }

    @Test func aMessageThatCannotBeCutGoesInPieces() throws {
        let (kernel, egress) = try Self.make()
        for mark in 0..<3 as Range<UInt8> { Self.send(egress, Self.packet(mark, 100)) }
        kernel.answers = [-EIO]
        egress.flush()
        #expect(kernel.taken.map(\.bytes) == (0..<3).map { Self.packet($0, 100) })
        // This destination takes no segmentation: it is not tried again.
        for mark in 3..<6 as Range<UInt8> { Self.send(egress, Self.packet(mark, 100)) }
        egress.flush()
        #expect(kernel.taken.count == 6 && egress.packetsSent == 6 && egress.packetsDropped == 0)
    }

    @Test func aRefusedPacketIsCountedAndOthersGoOn() throws {
        let (kernel, egress) = try Self.make()
        for port in 1...3 as ClosedRange<UInt16> { Self.send(egress, Self.packet(UInt8(port), 100), to: port) }
        kernel.answers = [1, -ECONNREFUSED]
        egress.flush()
        #expect(kernel.taken.map(\.port) == [1, 3])
        #expect(egress.packetsSent == 2 && egress.packetsDropped == 1)
    }
}
