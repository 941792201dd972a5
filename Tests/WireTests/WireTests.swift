import Testing
import Wire

@Suite struct SequenceTests {
    @Test(
        arguments: [(0xffff, 0, true), (0, 0xffff, false), (10, 11, true), (7, 7, false)] as [(UInt16, UInt16, Bool)])
    func sequenceNumbersWrap(a: UInt16, b: UInt16, isBefore: Bool) {
        #expect(SequenceNumber.isBefore(a, b) == isBefore)
    }

    @Test func unwrapperCrossesTheRollOverBothWays() {
        var u = SequenceUnwrapper()
        let first = u.unwrap(65_534)
        #expect(u.unwrap(1) == first + 3)
        #expect(u.unwrap(65_535) == first + 1)
        #expect(u.highest == first + 3)
    }
}

@Suite struct SocketAddressTests {
    @Test(arguments: ["192.0.2.1", "2001:db8::1", "::1", "::", "fe80::1:2", "2001:db8:0:1:1:1:1:1"])
    func textRoundTrips(text: String) throws {
        let address = try #require(SocketAddress(ip: text, port: 5))
        #expect(address.ip == text)
    }

    @Test(arguments: ["", "1.2.3", "1.2.3.256", "a.local", "1::2::3", ":::", "1:2:3:4:5:6:7:8:9", "+1::", "01234::"])
    func nonsenseIsRefused(text: String) {
        #expect(SocketAddress(ip: text, port: 5) == nil)
    }

    @Test func mappedIPv4InsideIPv6() throws {
        let address = try #require(SocketAddress(ip: "::ffff:192.0.2.1", port: 1))
        #expect(address.low == 0xffff_c000_0201)
    }
}
