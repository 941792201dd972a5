import RTSP
import RTSPServer
import Testing
import Weir
import Wire

@Suite struct RTSPConfigurationTests {
    private func parse(_ yaml: String) throws -> Configuration.RTSP {
        try ConfigurationLoader.parse(yaml: yaml, file: "w.yaml", environment: [:]).rtsp
    }

    @Test func valuesAreRead() throws {
        let rtsp = try parse(
            """
            rtsp:
              listeners: ["192.0.2.1:554", "[2001:db8::1]:8554"]
              tls_listeners: []
              udp_port: 0
              session_timeout: 30s
              max_queue: 512KiB
              users: {ann: "pass word", "b b": x}
              login: both
              realm: the house
            """)
        #expect(rtsp.listeners.map { "\($0)" } == ["192.0.2.1:554", "[2001:db8::1]:8554"])
        #expect(rtsp.tlsListeners.isEmpty && rtsp.udpPort == 0 && rtsp.sessionTimeout == .seconds(30))
        #expect(rtsp.users == [.init(name: "ann", password: "pass word"), .init(name: "b b", password: "x")])
        #expect(rtsp.login == .both && rtsp.realm == "the house" && rtsp.maxQueue == 512 << 10)
    }

    @Test(arguments: [
        "{listeners: [\"0.0.0.0\"]}", "{listeners: [\"0.0.0.0:0\"]}", "{listeners: [\"localhost:8554\"]}",
        "{listeners: [\"2001:db8::1:8554\"]}", "{udp_port: 8001}", "{udp_port: 65536}", "{session_timeout: 5s}",
        "{users: [ann]}", "{users: {\"a:b\": x}}", "{users: {ann: \"\"}}", "{login: play}", "{login: some}",
        "{realm: \"a\\\"b\"}", "{realm: \"\"}", "{max_queue: 1KiB}",
    ])
    func wrongValuesAreRefused(value: String) {
        #expect(throws: (any Error).self) { _ = try parse("rtsp: \(value)") }
    }

    @Test func passwordsAreNotShown() {
        #expect {
            _ = try parse("rtsp: {users: {ann: \"secret\\nword\"}}")
        } throws: { "\($0)".contains("ann") && !"\($0)".contains("secret") }
    }

    @Test func listenersOfOnePortCollide() {
        #expect {
            _ = try parse("rtsp: {tls_listeners: [\"127.0.0.1:8554\"]}")
        } throws: { "\($0)".contains("8554 is the port of rtsp.") }
        #expect(throws: Never.self) { _ = try parse("rtsp: {enabled: false, tls_listeners: [\"127.0.0.1:8081\"]}") }
    }
}
