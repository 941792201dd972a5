import Testing
import Weir
import Wire

/// The text of what is wrong with `yaml`; empty if nothing is.
private func problems(_ yaml: String, _ environment: [String: String] = [:]) -> String {
    do {
        _ = try ConfigurationLoader.parse(yaml: yaml, file: "w.yaml", environment: environment)
        return ""
    } catch {
        return error.description
    }
}

private func parse(_ yaml: String?, _ environment: [String: String] = [:]) throws -> Configuration {
    try ConfigurationLoader.parse(yaml: yaml, file: "w.yaml", environment: environment)
}

@Suite struct ConfigurationTests {
    @Test(arguments: [nil, "", "# nothing\n", "---\n", "media:\n", "media: {}\n"]) func anEmptyFileGivesTheDefaults(
        yaml: String?
    ) throws {
        #expect(try parse(yaml) == Configuration())
    }

    @Test func valuesOfEveryFormAreRead() throws {
        let c = try parse(
            """
            media:
              port: 40000
              listen: [0.0.0.0, "::"]
              announce: 203.0.113.7
              gso: off
              srtp_backend: openssl
              srtp_profiles:
                - AES128_CM_HMAC_SHA1_80
              group_cache: 2m
              gather_limit: 0
              receive_buffer: 512KiB
              send_buffer: 70000
              max_bitrate: 2.5M
            http:
              ice_servers:
                - urls: ["stun:stun.example.com:3478"]
                - {urls: "turn:t.example.com?transport=udp", username: u, credential: c}
              cors_origins: [https://www.example.com]
            websocket: {reattach_time: 0s}
            proxies:
              trusted: [127.0.0.1, "2001:db8::/32"]
            log: {level: Debug, format: json}
            """.replacing("group_cache: 2m", with: "group_cache: 1.5s"))
        #expect(c.media.port == 40000)
        #expect(c.media.listen.map(\.ip) == ["0.0.0.0", "::"])
        #expect(c.media.announce.map(\.ip) == ["203.0.113.7"])
        #expect(!c.media.gso)
        #expect(c.media.srtpBackend == .openSSL)
        #expect(c.media.srtpProfiles == [.aes128CMHMACSHA1_80])
        #expect(c.media.groupCache == .milliseconds(1500))
        #expect(c.media.gatherLimit == .zero)
        #expect(c.media.receiveBuffer == 512 << 10)
        #expect(c.media.sendBuffer == 70000)
        #expect(c.media.maxBitrate == 2_500_000)
        #expect(
            c.http.iceServers == [
                .init(urls: ["stun:stun.example.com:3478"]),
                .init(urls: ["turn:t.example.com?transport=udp"], username: "u", credential: "c"),
            ])
        #expect(c.http.corsOrigins == ["https://www.example.com"])
        #expect(c.websocket.reattachTime == .zero)
        #expect(c.proxies.trusted.map(\.description) == ["127.0.0.1", "2001:db8::/32"])
        #expect(c.log.level == .debug)
        #expect(c.log.format == .json)
    }

    @Test func theEndToEndTestsSettingsAreKnown() throws {
        let c = try parse(
            """
            http: {port: 1003, tls_port: 1004}
            ice: {keep_alive_timeout: 2s, timeout: 3s}
            log: {level: info}
            media: {port: 1005}
            state: {dir: /tmp/x}
            websocket: {port: 1001, tls_port: 1002}
            """)
        #expect(c.ice.keepAliveTimeout == .seconds(2))
        #expect(c.ice.timeout == .seconds(3))
        #expect(
            [c.websocket.port, c.websocket.tlsPort, c.http.port, c.http.tlsPort, c.media.port] == [
                1001, 1002, 1003, 1004, 1005,
            ])
        #expect(c.state.dir == "/tmp/x")
    }

    @Test(arguments: [
        (
            "media:\n  port: 70000\n",
            "w.yaml:2: media.port: \"70000\" is not a port number; give a port number from 1 to 65535"
        ),
        ("media:\n\n  prot: 1\n", "w.yaml:3: media.prot: there is no such key; did you mean port?"),
        ("medai:\n  port: 1\n", "w.yaml:1: medai: there is no such section; did you mean media?"),
        ("http:\n  ping_interval: 1s\n", "did you mean websocket.ping_interval?"),
        ("ice:\n  timeout: 10\n", "w.yaml:2: ice.timeout: \"10\" has no unit; give a time from 1s to 1h with its unit"),
        ("ice:\n  timeout: 2h\n", "is out of range"),
        ("ice:\n  timeout: soon\n", "\"soon\" is not a time"),
        ("media:\n  send_buffer: 4MB\n", "\"4MB\" is not a size"),
        ("media:\n  send_buffer: 1\n", "is out of range; give a size from 64KiB to 1GiB"),
        ("media:\n  gso: maybe\n", "neither true nor false"),
        ("media:\n  workers: -1\n", "\"-1\" is out of range"),
        ("media:\n  workers: 99999999999999999999\n", "is not a whole number"),
        ("media:\n  srtp_backend: opensll\n", "did you mean openssl?"),
        ("media:\n  listen: example.com\n", "w.yaml:2: media.listen: \"example.com\" is not an address"),
        ("media:\n  listen:\n    - 0.0.0.0\n    - 0.0.0\n", "w.yaml:4: media.listen: \"0.0.0\" is not an address"),
        ("media:\n  listen: []\n", "is an empty list"),
        ("media:\n  listen: [1.2.3.4, 1.2.3.4]\n", "stands twice"),
        ("media:\n  port:\n", "w.yaml:2: media.port: nothing is no value"),
        ("media:\n  port: [1]\n", "is not a single value"),
        ("media: 5\n", "w.yaml:1: media: \"5\" is not a section"),
        ("- 1\n", "not a list of sections"),
        ("media:\n  port: 1\n  gso: true\n  port: 2\n", "w.yaml:4: port: the key is there twice"),
        ("media:\n  gso: true\nmedia:\n  tcp: true\n", "w.yaml:3: media: the key is there twice"),
        ("media:\n\tport: 1\n", "w.yaml:2: not YAML"),
        ("media: [\n", "not YAML"),
        (
            "media:\n  announce: 0.0.0.0\n",
            "w.yaml:2: media.announce: \"0.0.0.0\" is not an address that a peer could reach"
        ),
        ("tls:\n  key: /k.pem\n", "w.yaml:2: tls.key: is set without tls.certificate"),
        ("media:\n  dtls_key: /k.pem\n", "is set without media.dtls_certificate"),
        ("http:\n  port: 8080\n", "w.yaml:2: http.port: 8080 is the port of websocket.port too"),
        ("websocket:\n  port: 8081\n", "w.yaml:2: websocket.port: 8081 is the port of http.port too"),
        ("media:\n  port: 8443\n", "w.yaml:2: media.port: 8443 is the port of websocket.tls_port too"),
        ("limits:\n  connections_per_address: 30000\n", "is more than limits.connections"),
        ("http:\n  cors_origins: [example.com]\n", "\"example.com\" is not an origin"),
        ("http:\n  ice_servers:\n    - urls: [\"turn:x\"]\n", "w.yaml:3: http.ice_servers: the entry is not complete"),
        ("http:\n  ice_servers:\n    - urls: [\"stun:x>; rel=y\"]\n", "is not the URL of an ICE server"),
        ("http:\n  ice_servers:\n    - url: [\"stun:x\"]\n", "url is not a key of an ICE server"),
        ("proxies:\n  trusted: [10.0.0.0/33]\n", "\"10.0.0.0/33\" is not a range of addresses; give an address or"),
        ("websocket:\n  keep_alive: ping\n", "give one of text, websocket, none"),
    ])
    func errorsNameFileLineKeyValueAndRemedy(yaml: String, expected: String) {
        let text = problems(yaml)
        #expect(text.contains(expected), "\(text)")
    }

    @Test func passwordsAreNotShownInErrors() {
        for yaml in [
            "http:\n  ice_servers: [{urls: [], username: u, credential: hunter2}]\n",
            "http:\n  ice_servers: [{urls: [x], credential: hunter2}]\n",
            "http:\n  ice_servers: {urls: [\"turn:a\"], credential: hunter2}\n",
            "http:\n  ice_servers: [{urls: [\"stun:a\"], credential: hunter2}, {urls: [\"stun:a\"], credential: hunter2}]\n",
            "http:\n  admin_token: hunter2\n",
        ] {
            let text = problems(yaml)
            #expect(!text.isEmpty && !text.contains("hunter2"), "\(text)")
        }
    }

    @Test func allProblemsAreToldAtOnce() {
        let text = problems("media:\n  port: x\n  gso: x\nhtpp:\n  port: 1\n", ["WEIR_LOG_LEVEL": "loud"])
        #expect(text.split(separator: "\n").count == 4, "\(text)")
    }

    @Test func differentAddressesMayShareAPortNumber() throws {
        let c = try parse("websocket: {listen: 127.0.0.1, port: 8090}\nhttp: {listen: 192.0.2.1, port: 8090}\n")
        #expect(c.http.port == 8090)
        _ = try parse("media: {tcp: false, port: 8080}")
        _ = try parse("http: {tls_port: 0}\nwebsocket: {tls_port: 0}")
    }

    @Test func theEnvironmentOverridesTheFile() throws {
        let c = try parse(
            "media:\n  port: 5000\n",
            [
                "WEIR_MEDIA_PORT": "6000", "WEIR_MEDIA_ANNOUNCE": "192.0.2.1, 2001:db8::1", "WEIR_ICE_TIMEOUT": "5s",
                "WEIR_HTTP_ICE_SERVERS": "[{urls: [\"stun:a\"]}]", "WEIR_TEST_LOG_LEVEL": "x", "WEIR_BINARY": "y",
            ])
        #expect(c.media.port == 6000)
        #expect(c.media.announce.map(\.ip) == ["192.0.2.1", "2001:db8::1"])
        #expect(c.ice.timeout == .seconds(5))
        #expect(c.http.iceServers == [.init(urls: ["stun:a"])])
    }

    @Test(arguments: [
        (["WEIR_MEDIA_PORT": "x"], "environment: WEIR_MEDIA_PORT: \"x\" is not a port number"),
        (["WEIR_MEDIA_PROT": "1"], "environment: WEIR_MEDIA_PROT: there is no such key; did you mean WEIR_MEDIA_PORT?"),
        (["WEIR_HTTP_PORT": "8080"], "environment (WEIR_HTTP_PORT): http.port: 8080 is the port of websocket.port too"),
    ])
    func errorsNameTheEnvironmentVariable(environment: [String: String], expected: String) {
        let text = problems("", environment)
        #expect(text.contains(expected), "\(text)")
    }

    @Test func everyKeyCanBeWrittenAndReadBackFromTheEnvironment() throws {
        let defaults = Configuration()
        for key in ConfigurationKey.all {
            let text = key.write(defaults)
            let unquoted = text == "\"\"" ? "" : text  // Quotes are YAML's, the environment has none.
            #expect(try parse(nil, [key.environmentVariable: unquoted]) == defaults, "\(key.path)")
        }
        #expect(Set(ConfigurationKey.all.map(\.path)).count == ConfigurationKey.all.count)
        #expect(Set(ConfigurationKey.all.map(\.environmentVariable)).count == ConfigurationKey.all.count)
    }

    @Test func theReferenceFileHoldsEveryKeyWithItsDefault() throws {
        let text = try repositoryFile("Config/weir.yaml")
        #expect(
            try ConfigurationLoader.parse(yaml: text, file: "Config/weir.yaml", environment: [:]) == Configuration())
        // By their keys, not by luck: the file must say each of them, in its section, with a comment above.
        var section = ""
        var inner = ""
        var found: Set<String> = []
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":"), !line.contains("#") else { continue }
            let name = line[..<colon]
            if !line.hasPrefix(" ") {
                section = String(name)
                inner = ""
            } else if line.hasPrefix("  "), !line.hasPrefix("   ") {
                let path = "\(section).\(name.dropFirst(2))"
                inner = ConfigurationKey.all.contains { $0.section == path } ? path : ""
                if inner.isEmpty { found.insert(path) }
            } else if line.hasPrefix("    "), !line.hasPrefix("     "), !inner.isEmpty {
                found.insert("\(inner).\(name.dropFirst(4))")
            }
        }
        #expect(found == Set(ConfigurationKey.all.map(\.path)))
    }

    @Test func missingFilesAreNamed() {
        #expect {
            try ConfigurationLoader.load(path: "/nowhere/weir.yaml", environment: [:])
        } throws: { "\($0)".contains("/nowhere/weir.yaml: there is no such file") }
        #expect {
            try ConfigurationLoader.load(path: nil, environment: ["WEIR_CONFIG": "/nowhere/else.yaml"])
        } throws: { "\($0)".contains("/nowhere/else.yaml") }
    }

    @Test func noiseIsRefusedWithoutCrashing() throws {
        let valid = Array(try repositoryFile("Config/weir.yaml").utf8)
        var random = SeededRandom(seed: 20)
        for _ in 0..<300 {
            var bytes = valid
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let i = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[i] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: i)
                default: bytes.insert(bytes[Int.random(in: 0..<bytes.count, using: &random)], at: i)
                }
            }
            _ = problems(String(decoding: bytes, as: UTF8.self))
        }
    }
}
