import LinuxNet
import Testing
import Wire

@Suite struct LinuxNetTests {
    @Test func addressesSurviveTheCRoundTrip() throws {
        for text in ["192.0.2.7", "2001:db8::9"] {
            let address = try #require(SocketAddress(ip: text, port: 31001))
            #expect(SocketAddress(address.c) == address)
        }
    }

    @Test func aPortIsClaimedOnce() throws {
        let first = try PortLock(port: 1)
        #expect(throws: NetworkError.self) { _ = try PortLock(port: 1) }
        _ = consume first
        _ = try PortLock(port: 1)
    }
}
