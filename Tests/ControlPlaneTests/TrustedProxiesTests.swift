import ControlPlane
import Testing

@Suite("Trusted proxies")
struct TrustedProxiesTests {
    private func proxies(_ texts: String...) -> TrustedProxies { TrustedProxies(texts.compactMap(AddressRange.init)) }

    static let ranges: [(range: String, inside: [String], outside: [String])] = [
        ("10.0.0.0/8", ["10.0.0.1", "10.255.1.2:80", "::ffff:10.1.2.3", "[::ffff:10.1.2.3]:9"], ["11.0.0.1", "::a"]),
        ("192.0.2.7", ["192.0.2.7:1"], ["192.0.2.6", "192.0.2.8"]),
        ("192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127"]),
        ("2001:db8::/33", ["2001:db8:7fff::1", "[2001:db8::5]:443"], ["2001:db8:8000::1", "2001:db9::1"]),
        ("::1", ["::1", "[::1]:5"], ["::2", "127.0.0.1"]),
        ("0.0.0.0/0", ["203.0.113.1"], ["2001:db8::1"]),
        ("::/0", ["203.0.113.1", "2001:db8::1"], ["unknown", "example.com"]),
    ]

    @Test(arguments: ranges)
    func aRangeHoldsItsAddresses(range: String, inside: [String], outside: [String]) {
        let one = proxies(range)
        for address in inside { #expect(one.contains(address), "\(address)") }
        for address in outside { #expect(!one.contains(address), "\(address)") }
    }

    @Test(arguments: ["", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0", "host", "fe80::1%eth0"])
    func whatIsNoRangeIsRefused(text: String) { #expect(AddressRange(text) == nil) }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1:7"), ("::ffff:192.0.2.1", "192.0.2.1:7"), ("2001:db8::1", "[2001:db8::1]:7"),
    ])
    func addressesHaveOneText(host: String, text: String) {
        #expect(AddressKey.text(host: host, port: 7) == text)
        #expect(AddressKey.text(host: nil, port: 7) == "unknown")
    }

    @Test func onlyATrustedProxyIsBelieved() {
        let one = proxies("127.0.0.1", "10.0.0.0/8")
        let forged = ["203.0.113.9"]
        #expect(one.client(peer: "198.51.100.1:5000", forwardedFor: forged) == "198.51.100.1:5000")
        #expect(TrustedProxies().client(peer: "127.0.0.1:5000", forwardedFor: forged) == "127.0.0.1:5000")
        #expect(one.client(peer: "127.0.0.1:5000", forwardedFor: forged) == "203.0.113.9")
        #expect(one.client(peer: "127.0.0.1:5000", forwardedFor: []) == "127.0.0.1:5000")
    }

    @Test func whatTheClientWroteItselfDoesNotCount() {
        let one = proxies("127.0.0.1", "10.0.0.0/8")
        #expect(one.client(peer: "127.0.0.1:1", forwardedFor: ["1.1.1.1, 203.0.113.9, 10.0.0.7"]) == "203.0.113.9")
        #expect(
            one.client(peer: "127.0.0.1:1", forwardedFor: ["1.1.1.1", "[2001:db8::1]:77 ,10.0.0.7"])
                == "[2001:db8::1]:77")
        #expect(one.client(peer: "127.0.0.1:1", forwardedFor: ["1.1.1.1, unknown"]) == "127.0.0.1:1")
        #expect(one.client(peer: "127.0.0.1:1", forwardedFor: ["1.1.1.1, evil\", 10.0.0.7"]) == "10.0.0.7")
        let long = String(repeating: "10.0.0.1,", count: 5_000) + "10.0.0.2"
        #expect(one.client(peer: "127.0.0.1:1", forwardedFor: [long]) == "10.0.0.1")
    }

    @Test func manyClientsComeThroughOneTrustedProxy() throws {
        let range = try #require(AddressRange("10.0.0.0/8"))
        let budget = ConnectionBudget(limit: 3, limitPerAddress: 1, proxies: TrustedProxies([range]))
        let proxy = budget.key(of: "10.0.0.1:5000")
        #expect(budget.take(proxy) == nil)
        #expect(budget.take(proxy) == nil)
        let other = budget.key(of: "192.0.2.7:5000")
        #expect(budget.take(other) == nil)
        #expect(budget.take(other) == .tooManyConnections)
        budget.giveBack(proxy)
        #expect(budget.take(other) == .tooManyFromAddress)
        #expect(budget.take(proxy) == nil)
    }
}
