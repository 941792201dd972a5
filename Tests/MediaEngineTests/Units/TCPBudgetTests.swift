import MediaEngine
import Testing
import Wire

/// Bounds on ICE-TCP connections, over all workers.
@Suite struct TCPBudgetTests {
    private static func budget(total: Int, perAddress: Int) throws -> TCPBudget {
        var configuration = EngineConfiguration(certificate: try TestSecurity.shared().server)
        configuration.maxTCPConnections = total
        configuration.maxTCPConnectionsPerAddress = perAddress
        return TCPBudget(configuration)
    }

    @Test func oneAddressGetsItsShareWhateverItsPorts() throws {
        let budget = try Self.budget(total: 10, perAddress: 2)
        let first = SocketAddress(ipv4: 0x0a00_0001, port: 1)
        #expect(budget.take(first) && budget.take(SocketAddress(ipv4: 0x0a00_0001, port: 2)))
        #expect(!budget.take(SocketAddress(ipv4: 0x0a00_0001, port: 3)))
        #expect(budget.take(SocketAddress(ipv4: 0x0a00_0002, port: 1)))
        budget.give(first)
        #expect(budget.take(SocketAddress(ipv4: 0x0a00_0001, port: 3)))
    }

    @Test func thereIsOneTotal() throws {
        let budget = try Self.budget(total: 3, perAddress: 2)
        let addresses = (1...4).map { SocketAddress(ipv4: 0x0a00_0000 + UInt32($0), port: 1) }
        #expect(addresses.map { budget.take($0) } == [true, true, true, false])
        budget.give(addresses[0])
        #expect(budget.take(addresses[3]))
    }

    @Test func whatWasNeverTakenCannotBeGiven() throws {
        let budget = try Self.budget(total: 1, perAddress: 1)
        budget.give(SocketAddress(ipv4: 0x0a00_0001, port: 1))
        #expect(budget.take(SocketAddress(ipv4: 0x0a00_0002, port: 1)))
        #expect(!budget.take(SocketAddress(ipv4: 0x0a00_0003, port: 1)))
    }
}
