import Testing
import Weir
import Wire

/// The section `rtsp.pull`.
struct PullConfigurationTests {
    private func parse(_ yaml: String, _ environment: [String: String] = [:]) throws(ConfigurationError)
        -> Configuration
    {
        try ConfigurationLoader.parse(yaml: yaml, file: "weir.yaml", environment: environment)
    }

    @Test func sourcesHaveNamesAndModes() throws {
        let configuration = try parse(
            """
            rtsp:
              pull:
                transport: udp_then_tcp
                allow_networks: [192.168.7.0/24, "fd00::/8"]
                hosts: ["*.example.com", 192.168.7.20]
                keep_viewers: 5s
                sources:
                  - {name: yard, url: "rtsp://a:b@192.168.7.20/1", mode: always}
                  - {name: gate, url: "rtsps://cam.example.com/1"}
            """)
        let pull = configuration.rtspPull
        #expect(pull.transport == .udpThenTCP && pull.keepViewers == .seconds(5))
        #expect(
            pull.sources == [
                .init(name: "yard", url: "rtsp://a:b@192.168.7.20/1", mode: .always),
                .init(name: "gate", url: "rtsps://cam.example.com/1", mode: .onDemand),
            ])
    }

    @Test func theEnvironmentNamesKeysOfInnerSections() throws {
        let configuration = try parse(
            "",
            [
                "WEIR_RTSP_PULL_TRANSPORT": "udp",
                "WEIR_RTSP_PULL_SOURCES": "[{name: gate, url: \"rtsp://cam.example.com/1\"}]",
            ])
        #expect(configuration.rtspPull.transport == .udp && configuration.rtspPull.sources.map(\.name) == ["gate"])
    }

    @Test(arguments: [
        ("transport: carrier-pigeon", "weir.yaml:3: rtsp.pull.transport"),
        ("trnsport: udp", "did you mean transport?"),
        ("hosts: [\"a b\"]", "\"a b\" is not a host"),
        ("allow_networks: [home]", "\"home\" is not a range of addresses"),
        ("sources: [{name: a/b, url: \"rtsp://secret@h/\"}]", "name is not the name of a stream"),
        ("sources: [{name: a, url: \"ftp://secret@h/\"}]", "url is not a URL that can be pulled"),
        ("schemes: [gopher]", "rtsp.pull.schemes"),
        ("sources: [{name: a, url: \"rtsp://secret@h/\", mode: now}]", "mode is not a mode"),
        ("sources: [{name: a, url: \"rtsp://secret@h/\", wat: 1}]", "wat is not a key of a source"),
        ("max_processes: -1", "rtsp.pull.max_processes"),
        ("process_memory: 1MiB", "rtsp.pull.process_memory"),
        ("sources: [{name: a}]", "the entry is not complete"),
        (
            "sources: [{name: a, url: \"rtsp://secret@h/\"}, {name: a, url: \"rtsp://secret@i/\"}]",
            "\"a\" is the name of two sources"
        ),
        ("- a", "rtsp.pull"),
    ])
    func errorsNameTheKeyAndNoPassword(line: String, expected: String) {
        do throws(ConfigurationError) {
            _ = try parse("rtsp:\n  pull:\n    \(line)\n")
            Issue.record("taken: \(line)")
        } catch {
            #expect(error.description.contains(expected), "\(error.description)")
            #expect(!error.description.contains("secret"))
        }
    }
}
