import FoundationEssentials
import Glibc
import RESTHooks
import Testing
import WeirJSON

@Suite("Applications", .timeLimit(.minutes(4)))
struct ApplicationTests {
    /// A file in a directory of its own.
    private func withFile(_ body: (ApplicationFile) throws -> Void) throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("weir-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        try body(ApplicationFile(path: directory.appendingPathComponent("applications.json").path))
    }

    private func made(_ key: String, secret: String = "s3cret") throws -> Application {
        try Application(
            key: key, backend: .url("https://backend/\(key)"), methods: ["connect"],
            credentials: .signature(secret: secret),
            defaultRESTClientConfig: RESTClientConfig([
                "connect": MethodConfig(restExclude: ["sdp"], restOnError: .fail)
            ]))
    }

    @Test func whatIsMadeAtRunTimeOutlivesARestart() throws {
        try withFile { file in
            let applications = try Applications(configured: [], store: file)
            try applications.add(try made("one"))
            try applications.add(try made("two"))
            try applications.update("one") { old throws(ApplicationError) in
                var new = old
                new.methods = ["connect", "playStream"]
                return new
            }
            try applications.remove("two")
            let again = try Applications(configured: [], store: file)
            #expect(again.all.map(\.key) == ["defaultApp", "one", "roomApp"])
            let one = try #require(again.find("one"))
            #expect(one.methods == ["connect", "playStream"])
            #expect(one.credentials == .signature(secret: "s3cret"))
            #expect(one.defaultRESTClientConfig == (try made("one")).defaultRESTClientConfig)
            #expect(one.backend == .url("https://backend/one"))
            var facts = stat()
            #expect(stat(file.path, &facts) == 0 && facts.st_mode & 0o777 == 0o600)
        }
    }

    @Test func aKeyHasOneDefinition() throws {
        #expect(throws: ApplicationError.alreadyExists("a")) {
            _ = try Applications(configured: [try made("a"), try made("a")], store: nil)
        }
        try withFile { file in
            try Applications(configured: [], store: file).add(try made("a"))
            #expect(throws: ApplicationError.alreadyExists("a")) {
                _ = try Applications(configured: [try made("a")], store: file)
            }
            let applications = try Applications(configured: [try made("b")], store: file)
            #expect(throws: ApplicationError.alreadyExists("a")) { try applications.add(try made("a")) }
            #expect(throws: ApplicationError.alreadyExists("a")) {
                try applications.replaceConfigured([try made("b"), try made("a")])
            }
            #expect(applications.find("b") != nil, "all or nothing")
        }
    }

    @Test func whatIsConfiguredOrBuiltInIsReadOnly() throws {
        let applications = try Applications(configured: [try made("a")], store: nil)
        for key in ["a", "defaultApp"] {
            #expect(throws: ApplicationError.readOnly(key)) { try applications.add(try made(key)) }
            #expect(throws: ApplicationError.readOnly(key)) { try applications.remove(key) }
            #expect(applications.isReadOnly(key))
        }
        #expect(throws: ApplicationError.notFound("x")) { try applications.remove("x") }
    }

    @Test func builtInApplicationsCanBeSwitchedOff() throws {
        let applications = try Applications(configured: [try made("a")], builtIn: ["roomApp"], store: nil)
        #expect(applications.find("defaultApp") == nil)
        #expect(applications.open.map(\.key) == ["roomApp"])
        #expect(applications.all.map(\.key) == ["a", "roomApp"])
    }

    @Test func whatCannotBeStoredDoesNotCount() throws {
        let file = ApplicationFile(path: "/nowhere/applications.json")
        let applications = try Applications(configured: [], store: file)
        #expect(throws: ApplicationError.self) { try applications.add(try made("a")) }
        #expect(applications.find("a") == nil)
    }

    @Test(arguments: ["{", "[]", #"{"applications":[{"appKey":"a"}]}"#, #"{"applications":[7]}"#])
    func aBrokenFileIsAnError(text: String) throws {
        try withFile { file in
            try Data(text.utf8).write(to: URL(fileURLWithPath: file.path))
            #expect(throws: ApplicationError.self) { _ = try Applications(configured: [], store: file) }
        }
    }

    @Test(arguments: [
        "ftp://h/", "http://", "http:///x", "http://u:p@h/", "h/x", "http://h/a?b", "http://h/ x", "http://h/\u{e9}",
    ])
    func badURLsAreRefused(url: String) {
        #expect(throws: ApplicationError.self) { _ = try Application.Backend(url) }
    }

    @Test func aTrailingSlashIsCutAndBuiltInsHavePaths() throws {
        #expect(try Application.Backend("http://h/x/") == .url("http://h/x"))
        #expect(try Application.Backend("/apps/EchoApp") == .echo)
        #expect(try Application.Backend("/apps/roomApp") == .room)
    }

    @Test func secretsAreNotShown() throws {
        let text = try made("a").shownJSON.serialized
        #expect(!text.contains("s3cret") && text.contains(#""url":"https://backend/a""#))
        #expect(throws: ApplicationError.self) {
            _ = try Application.credentials(username: "u", password: "p", secret: "s")
        }
    }

    @Test func badKeysAndMethodsAreRefused() {
        for key in ["", "a b", "a/b", String(repeating: "k", count: 129)] {
            #expect(throws: ApplicationError.self) { _ = try Application(key: key, backend: .echo, methods: []) }
        }
        #expect(throws: ApplicationError.self) { _ = try Application(key: "a", backend: .echo, methods: ["conect"]) }
    }
}
