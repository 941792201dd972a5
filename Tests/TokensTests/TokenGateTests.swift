import ControlPlane
import Foundation
import Logging
import Testing
import Tokens
import WeirMetrics

@Suite struct TokenGateTests {
    private func gate(_ settings: TokenSettings, _ metrics: MetricsRegistry = .init()) async throws -> TokenGate {
        TokenGate(try await TokenGate.prepare(settings), metrics: metrics, logger: quiet, now: { now })
    }

    private func ask(_ gate: TokenGate, _ token: String?, _ action: StreamAction = .publish, app: String = "defaultApp")
        -> RightsDecision
    { gate.allow(token: token, action: action, stream: "cam", appKey: app) }

    private let secrets = [TokenSecret(secret: Mint.secret)]
    private let good = Mint.hs256(#"{"alg":"HS256"}"#, "{\"exp\":\(inAnHour),\"sub\":\"ann\",\(allowsAll)}")

    @Test func withoutKeysNobodyNeedsAToken() async throws {
        let gate = try await gate(TokenSettings())
        #expect(ask(gate, nil) == .allow(RightsGrant()))
        #expect(ask(gate, "nonsense", .play) == .allow(RightsGrant()))
    }

    @Test func decisionsAreCountedByReason() async throws {
        let metrics = MetricsRegistry()
        let gate = try await gate(TokenSettings(secrets: secrets), metrics)
        #expect(ask(gate, good) == .allow(RightsGrant(subject: "ann")))
        #expect(ask(gate, nil, .play) == .refuse(TokenRefusal.missing.rights))
        #expect(ask(gate, good + ".") == .refuse(TokenRefusal.malformed.rights))
        func count(_ action: String, _ result: String) -> UInt64 {
            metrics.counter("weir_token_checks_total", help: "", labels: [("action", action), ("result", result)]).value
        }
        #expect(count("publish", "allowed") == 1)
        #expect(count("play", "missing") == 1)
        #expect(count("publish", "malformed") == 1)
        #expect(count("publish", "missing") == 0)
        #expect(metrics.gauge("weir_token_keys", help: "").value == 1)
    }

    @Test func whatNeedsATokenIsASetting() async throws {
        let gate = try await gate(
            TokenSettings(secrets: secrets, neededFor: [.publish], exceptApplications: ["rooms"]))
        #expect(ask(gate, nil) == .refuse(TokenRefusal.missing.rights))
        #expect(ask(gate, nil, .play) == .allow(RightsGrant()))
        #expect(ask(gate, nil, app: "rooms") == .allow(RightsGrant()))
    }

    @Test func streamsEndWithTheirTokensOnlyIfConfigured() async throws {
        let gate = try await gate(
            TokenSettings(secrets: secrets, rules: .init(leeway: 5), endsAtExpiry: true))
        #expect(ask(gate, good) == .allow(RightsGrant(subject: "ann", endsIn: .seconds(3_605))))
    }

    @Test func keysAreReadAgainWhenTheFileChanges() async throws {
        let metrics = MetricsRegistry()
        let file = try KeyFile(Mint.keySet)
        let gate = try await gate(TokenSettings(keyFile: file.path), metrics)
        let token = try Mint.rs256(#"{"alg":"RS256","kid":"r"}"#, goodClaims)
        let other = try Mint.es256(#"{"alg":"ES256","kid":"new"}"#, goodClaims)
        #expect(ask(gate, token) == .allow(RightsGrant()))
        #expect(!(await gate.reloadIfChanged()))
        // All or nothing: the good key beside the bad one is not taken either.
        try file.write("{\"keys\":[\(Mint.ellipticKey("new")),{}]}")
        #expect(!(await gate.reloadIfChanged()))
        #expect(ask(gate, token) == .allow(RightsGrant()))
        #expect(ask(gate, other) == .refuse(TokenRefusal.unknownKey.rights))
        try file.write("{\"keys\":[\(Mint.ellipticKey("new"))]}")
        #expect(await gate.reloadIfChanged())
        #expect(ask(gate, token) == .refuse(TokenRefusal.unknownKey.rights))
        #expect(ask(gate, other) == .allow(RightsGrant()))
        try FileManager.default.removeItem(atPath: file.path)
        #expect(!(await gate.reloadIfChanged()))
        #expect(ask(gate, other) == .allow(RightsGrant()))
        func reads(_ result: String) -> UInt64 {
            metrics.counter("weir_token_key_reads_total", help: "", labels: [("result", result)]).value
        }
        #expect(reads("ok") == 1)
        #expect(reads("error") == 2)
    }

    @Test func newSettingsHoldFromTheNextQuestionOn() async throws {
        let gate = try await gate(TokenSettings(secrets: secrets))
        let next = try await TokenGate.prepare(TokenSettings(secrets: [TokenSecret(secret: Mint.secret + "2")]))
        #expect(ask(gate, good) == .allow(RightsGrant(subject: "ann")))
        gate.use(next)
        #expect(ask(gate, good) == .refuse(TokenRefusal.signature.rights))
        gate.use(try await TokenGate.prepare(TokenSettings()))
        #expect(ask(gate, nil) == .allow(RightsGrant()))
    }

    @Test func aFileThatCannotBeReadIsAnErrorThatNamesIt() async throws {
        let missing = "/nonexistent/keys.json"
        let error = await #expect(throws: TokenKeysError.self) {
            try await TokenGate.prepare(TokenSettings(keyFile: missing))
        }
        #expect(error?.description == "tokens.jwks_file \(missing): there is no such file")
        let file = try KeyFile("{\"keys\":[{\"kty\":\"oct\",\"k\":\"hunter2\"}]}")
        let bad = await #expect(throws: TokenKeysError.self) {
            try await TokenGate.prepare(TokenSettings(keyFile: file.path))
        }
        #expect(bad?.description.contains("hunter2") == false)
    }
}

/// A file with keys that goes with the test.
private final class KeyFile: Sendable {
    let path: String

    init(_ text: String) throws {
        path = FileManager.default.temporaryDirectory.path + "/weir-keys-\(UUID().uuidString).json"
        try write(text)
    }

    func write(_ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic) }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
