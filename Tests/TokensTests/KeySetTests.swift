import Testing
import Tokens

@Suite struct KeySetTests {
    private func problem(_ text: String) -> String? {
        do throws(TokenKeysError) {
            _ = try KeySet(parsing: Array(text.utf8))
            return nil
        } catch {
            return error.description
        }
    }

    private func keys(_ texts: String...) -> String { "{\"keys\":[\(texts.joined(separator: ","))]}" }

    @Test func whatIdentityProvidersPublishIsRead() throws {
        let others = [
            Mint.rsaKey("enc", more: "\"alg\":\"RSA-OAEP\",\"use\":\"enc\",\"x5c\":[\"MII\"]"),
            Mint.rsaKey("ps", more: "\"alg\":\"PS256\""),
            #"{"kty":"OKP","kid":"ed","alg":"EdDSA","crv":"Ed25519","x":"11qYAYKxCrfVS"}"#,
            Mint.rsaKey("sign", more: "\"alg\":\"RS256\",\"key_ops\":[\"sign\"]"),
        ]
        let set = try KeySet(
            parsing: Array(
                keys(
                    Mint.rsaKey(), others[0], others[1], others[2], others[3],
                    Mint.ellipticKey(more: "\"alg\":\"ES256\",\"key_ops\":[\"verify\"]")
                ).utf8))
        #expect(set.keys.map(\.id) == ["r", "e"])
        #expect(set.keys.map(\.name.algorithm) == [.rs256, .es256])
        #expect(set.skipped == 4)
    }

    @Test func aKeyWithoutAlgorithmOrIdIsAnError() {
        #expect(problem(keys(Mint.rsaKey(more: "\"use\":\"sig\"")))?.contains("key 1: it has no alg") == true)
        #expect(
            problem(keys(Mint.ellipticKey(), Mint.ellipticKey().replacing("\"kid\":\"e\",", with: "")))
                == "key 2: it has no kid")
        #expect(problem(keys(Mint.rsaKey(""))) == "key 1: it has no kid")
    }

    @Test func keysOfOneIdAreAnError() {
        #expect(problem(keys(Mint.rsaKey("a"), Mint.ellipticKey("a"))) == "key 2: another key has the same kid")
        #expect(problem(keys(Mint.rsaKey("a", more: "\"alg\":\"PS256\""), Mint.ellipticKey("a")))?.isEmpty == false)
    }

    @Test func secretsAndPrivateKeysAreAnErrorAndNotShown() {
        let oct = #"{"kty":"oct","kid":"s","alg":"HS256","k":"c2VjcmV0"}"#
        #expect(problem(keys(Mint.rsaKey(), oct))?.contains("hs256_secrets") == true)
        #expect(problem(keys(Mint.rsaKey(), oct))?.contains("c2VjcmV0") == false)
        let hidden = Mint.rsaKey(more: "\"alg\":\"RS256\",\"k\":\"c2VjcmV0\"")
        #expect(problem(keys(hidden))?.contains("secret") == true)
        #expect(problem(keys(Mint.rsaKey(more: "\"alg\":\"HS256\""))) == "key 1: a public key cannot be for HS256")
        #expect(
            problem(keys(Mint.ellipticKey(more: "\"alg\":\"ES256\",\"d\":\"cHJpdmF0ZQ\"")))?.contains("private") == true
        )
    }

    @Test func algorithmTypeAndCurveBelongTogether() {
        #expect(problem(keys(Mint.rsaKey(more: "\"alg\":\"ES256\""))) == "key 1: alg ES256 needs kty EC and crv P-256")
        #expect(problem(keys(Mint.ellipticKey(more: "\"alg\":\"RS256\""))) == "key 1: alg RS256 needs kty RSA")
        let curve = Mint.ellipticKey().replacing("P-256", with: "P-384")
        #expect(problem(keys(curve))?.contains("P-256") == true)
        let short = #"{"kty":"EC","crv":"P-256","kid":"e","alg":"ES256","x":"AAAA","y":"AAAA"}"#
        #expect(problem(keys(short)) == "key 1: x is not right")
        #expect(
            problem(keys(#"{"kty":"RSA","kid":"e","alg":"RS256","n":"AQ+/","e":"AQAB"}"#)) == "key 1: n is not right")
        #expect(problem(keys(#"{"kty":"RSA","kid":"e","alg":"RS256","n":"AQAB"}"#)) == "key 1: e is not right")
    }

    @Test(arguments: [
        "", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[1]}", "{\"keys\":[],\"keys\":[]}", "not JSON",
        "{\"keys\":[{\"kty\":\"EC\",\"kty\":\"RSA\"}]}",
    ])
    func whatIsNoKeySetIsAnError(text: String) { #expect(problem(text) != nil) }

    @Test func tooManyKeysAreAnError() {
        let many = (0...200).map { Mint.ellipticKey("k\($0)") }.joined(separator: ",")
        #expect(problem("{\"keys\":[\(many)]}")?.contains("more than 200") == true)
    }

    @Test func numbersThatAreNoKeyAreAnError() async throws {
        let zeros = Mint.base64URL([UInt8](repeating: 0, count: 32))
        let point = #"{"kty":"EC","crv":"P-256","kid":"e","alg":"ES256","x":"\#(zeros)","y":"\#(zeros)"}"#
        let modulus = Mint.base64URL([0xc1] + [UInt8](repeating: 0x55, count: 127))
        let weak = #"{"kty":"RSA","kid":"weak","alg":"RS256","n":"\#(modulus)","e":"AQAB"}"#
        for text in [point, weak] {
            let set = try KeySet(parsing: Array(keys(text).utf8))
            await #expect(throws: TokenKeysError.self) { try await TokenKeys.make(secrets: [], keySet: set) }
        }
    }

    @Test func secretsAreLongAndHaveIdsOfTheirOwn() async throws {
        let short = TokenSecret(secret: String(repeating: "s", count: 31))
        let good = TokenSecret(secret: Mint.secret)
        await #expect(throws: TokenKeysError.self) { try await TokenKeys.make(secrets: [short], keySet: nil) }
        await #expect(throws: TokenKeysError.self) { try await TokenKeys.make(secrets: [good, good], keySet: nil) }
        #expect(try await TokenKeys.make(secrets: [good], keySet: nil).count == 1)
    }
}
