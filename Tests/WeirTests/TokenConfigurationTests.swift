import ControlPlane
import Testing
import Tokens
import Weir

private let secret = "0123456789abcdef0123456789abcdef"

private func parse(_ yaml: String?, _ environment: [String: String] = [:]) throws -> Configuration.Tokens {
    try ConfigurationLoader.parse(yaml: yaml, file: "w.yaml", environment: environment).tokens
}

private func problems(_ yaml: String) -> String {
    do {
        _ = try ConfigurationLoader.parse(yaml: yaml, file: "w.yaml", environment: [:])
        return ""
    } catch {
        return error.description
    }
}

@Suite struct TokenConfigurationTests {
    @Test func secretsAreReadInEveryForm() throws {
        let one = [TokenSecret(secret: secret)]
        #expect(try parse("tokens: {hs256_secrets: \(secret)}").hs256Secrets == one)
        #expect(try parse("tokens:\n  hs256_secrets:\n    - \(secret)\n").hs256Secrets == one)
        #expect(try parse(nil, ["WEIR_TOKENS_HS256_SECRETS": secret]).hs256Secrets == one)
        #expect(try parse("tokens: {hs256_secrets: \"\"}").hs256Secrets.isEmpty)
        #expect(try parse("tokens: {hs256_secrets: []}").hs256Secrets.isEmpty)
        let several = [TokenSecret(id: "a", secret: secret), TokenSecret(id: "b", secret: secret + ", \"x\\")]
        let yaml =
            "tokens:\n  hs256_secrets:\n    - {kid: a, secret: \(secret)}\n    - kid: b\n"
            + "      secret: '\(secret), \"x\\'\n"
        #expect(try parse(yaml).hs256Secrets == several)
        let environment = "[{kid: a, secret: \(secret)}, {kid: b, secret: '\(secret), \"x\\'}]"
        #expect(try parse(nil, ["WEIR_TOKENS_HS256_SECRETS": environment]).hs256Secrets == several)
        // A secret with a comma is one secret, not two.
        #expect(try parse(nil, ["WEIR_TOKENS_HS256_SECRETS": secret + ",x"]).hs256Secrets.count == 1)
    }

    @Test func whatIsWrittenIsReadAsTheSame() throws {
        let key = try #require(ConfigurationKey.all.first { $0.path == "tokens.hs256_secrets" })
        var configuration = Configuration()
        for secrets in [
            [], [TokenSecret(secret: secret)],
            [TokenSecret(id: "a \"b\"", secret: secret + "\\ \" ' , {}"), TokenSecret(secret: secret)],
        ] {
            configuration.tokens.hs256Secrets = secrets
            #expect(try parse("tokens: {hs256_secrets: \(key.write(configuration))}").hs256Secrets == secrets)
        }
    }

    @Test func theSettingsReachTheTokens() throws {
        let tokens = try parse(
            "tokens: {jwks_file: /k.json, issuer: i, audience: a, leeway: 1500ms, needed_for: publish, "
                + "except_applications: [rooms], end_at_expiry: true}")
        #expect(
            tokens.settings
                == TokenSettings(
                    keyFile: "/k.json", rules: .init(issuer: "i", audience: "a", leeway: 1.5), neededFor: [.publish],
                    exceptApplications: ["rooms"], endsAtExpiry: true))
        #expect(!Configuration().tokens.settings.isEnabled)
    }

    @Test(arguments: [
        ("hs256_secrets: short", "secret 1 is too short"),
        ("hs256_secrets: [{secret: \(secret), key: x}]", "a key other"),
        ("hs256_secrets: [\(secret), \(secret)x]", "secret 2 has the kid of another one, or both have none"),
        ("hs256_secrets: [{kid: a, secret: \(secret)}, {kid: a, secret: \(secret)}]", "secret 2 has the kid"),
        ("hs256_secrets: [{kid: \"\", secret: \(secret)}]", "kid that is empty"),
        ("hs256_secrets: [{kid: a}]", "secret 1 is too short or has no secret"),
        ("hs256_secrets: [[\(secret)]]", "secret 1 is not a secret"), ("hs256_secrets:", "the value is no value"),
        ("issuer: me", "w.yaml:1: tokens.issuer: has no effect: without a key nobody needs a token"),
        ("needed_for: [publish]", "has no effect"), ("needed_for: []", "is an empty list"),
        ("needed_for: [record]", "give one of publish, play"),
    ])
    func whatIsWrongIsSaidWithoutTheSecret(yaml: String, expected: String) {
        let text = problems("tokens: {\(yaml.hasSuffix(":") ? yaml + " null" : yaml)}")
        #expect(text.contains(expected), "\(text)")
        #expect(!text.contains(secret) && !text.contains("short\""))
    }

    @Test func authoritiesNeedTLS() {
        #expect(problems("http: {admin_client_ca: /ca.pem, tls_port: 0}").contains("needs TLS, which is off"))
        #expect(problems("http: {admin_client_ca: /ca.pem}").isEmpty)
    }
}
