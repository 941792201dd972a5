import RESTHooks
import Testing
import Weir

@Suite struct ApplicationConfigurationTests {
    private func parse(_ yaml: String) throws(ConfigurationError) -> Configuration {
        try ConfigurationLoader.parse(yaml: yaml, file: "weir.yaml", environment: [:])
    }

    @Test func anApplicationHasWhatTheOperatorWrote() throws {
        let configuration = try parse(
            """
            hooks: {keep_alive: true, keep_alive_applications: [defaultApp, live], timeout: 3s}
            applications:
              defaultApp:
                url: /apps/EchoApp
              live:
                url: https://backend.example/weir/
                methods: [connect, publishStream, sendData]
                username: u
                password: p
                default_rest_client_config:
                  connect: {restOnError: LOG}
                  publishStream: {restOnError: fail, restPolicy: OVERWRITE, restOverwrite: "name, custom"}
                  playStream: {restExclude: [sdp, custom]}
            """)
        let (echo, live) = (configuration.applications[0], configuration.applications[1])
        #expect(echo.backend == .echo && echo.methods == Application.allMethods && echo.credentials == .none)
        #expect(live.key == "live" && live.backend == .url("https://backend.example/weir"))
        #expect(live.methods == ["connect", "publishStream", "sendData"])
        #expect(live.credentials == .basic(username: "u", password: "p"))
        let config = live.defaultRESTClientConfig
        #expect(config.config(.connect).restOnError == .log)
        #expect(
            config.config(.publishStream)
                == MethodConfig(restOnError: .fail, restPolicy: .overwrite, restOverwrite: ["name", "custom"]))
        #expect(config.config(.playStream).restExclude == ["sdp", "custom"])
        #expect(configuration.hooks.keepAliveApplications == ["defaultApp", "live"])
    }

    static let mistakes: [(yaml: String, place: String, words: [String])] = [
        ("applications: 7", "weir.yaml:1", ["not a map of applications"]),
        ("applications:\n  a: http://h", "weir.yaml:2", ["applications.a", "is not an application"]),
        ("applications:\n  a:\n    methods: all", "weir.yaml:", ["a has no url"]),
        ("applications:\n  a:\n    url: ftp://h", "weir.yaml:", ["url must be http"]),
        ("applications:\n  a b:\n    url: http://h", "weir.yaml:", ["an application key is"]),
        ("applications:\n  a:\n    url: http://h\n    metods: all", "weir.yaml:4", ["did you mean methods?"]),
        (
            "applications:\n  a:\n    url: http://h\n    methods: [conect]", "weir.yaml:4",
            ["is not a hook method", "did you mean connect?"]
        ),
        (
            "applications:\n  a:\n    url: http://h\n    default_rest_client_config:\n      playStream: {restOnError: NO}",
            "weir.yaml:", ["playStream.restOnError is none of LOG, FAIL"]
        ),
        (
            "applications:\n  a:\n    url: http://h\n    default_rest_client_config:\n      plaStream: {restOnError: LOG}",
            "weir.yaml:", ["there is no hook method \"plaStream\""]
        ),
        (
            "applications:\n  a:\n    url: http://h\n    username: u\n    secret_key: s3cret", "weir.yaml:",
            ["exclude each other"]
        ),
        ("applications:\n  a:\n    url: http://h\n  a:\n    url: http://i", "weir.yaml:4", ["twice"]),
    ]

    @Test(arguments: mistakes)
    func mistakesAreNamedWithoutSecrets(yaml: String, place: String, words: [String]) throws {
        do {
            _ = try parse(yaml)
            Issue.record("taken: \(yaml)")
        } catch {
            let text = error.description
            #expect(text.hasPrefix(place), "\(text)")
            for word in words { #expect(text.contains(word), "\(text)") }
            #expect(!text.contains("s3cret"))
        }
    }
}
