import ControlPlane
import Foundation
import Testing
import Tokens

/// Tokens as attackers make them. Each test has a good token beside it, so that it cannot pass by refusing everything.
@Suite struct AttackTests {
    @Test func goodTokensOfEachKindAreTaken() async throws {
        let verifier = try await verifier()
        #expect(refusal(Mint.hs256(#"{"alg":"HS256"}"#, goodClaims), verifier) == nil)
        #expect(
            refusal(Mint.hs256(#"{"alg":"HS256","kid":"h"}"#, goodClaims, (Mint.secret + "-h").utf8), verifier) == nil)
        #expect(try refusal(Mint.rs256(#"{"alg":"RS256","kid":"r","typ":"JWT"}"#, goodClaims), verifier) == nil)
        #expect(try refusal(Mint.es256(#"{"typ":"JWT","kid":"e","alg":"ES256"}"#, goodClaims), verifier) == nil)
    }

    @Test(arguments: [
        "none", "None", "NONE", "nOnE", "", "HS384", "HS512", "hs256", "RS512", "PS256", "ES384", "EdDSA",
    ])
    func otherAlgorithmsAreRefused(name: String) async throws {
        let verifier = try await verifier()
        for header in ["{\"alg\":\"\(name)\"}", "{\"alg\":\"\(name)\",\"kid\":\"r\"}"] {
            let input = Mint.input(header, goodClaims)
            #expect(refusal(input + ".", verifier) == .algorithm)
            #expect(refusal(Mint.hs256(header, goodClaims), verifier) == .algorithm)
        }
    }

    @Test(arguments: ["null", "0", "true", "[]", "{}", "[\"none\"]"])
    func anAlgorithmIsAText(value: String) async throws {
        let verifier = try await verifier()
        #expect(refusal(Mint.hs256("{\"alg\":\(value)}", goodClaims), verifier) == .malformed)
        #expect(refusal(Mint.hs256("{}", goodClaims), verifier) == .malformed)
    }

    @Test func aPublicKeyIsNoSecret() async throws {
        let verifier = try await verifier()
        let texts: [any Sequence<UInt8>] = [
            Mint.rsa.publicKey.pemRepresentation.utf8, (Mint.rsa.publicKey.pemRepresentation + "\n").utf8,
            Mint.rsa.publicKey.derRepresentation, Mint.rsa.publicKey.pkcs1DERRepresentation, Mint.keySet.utf8,
            Mint.elliptic.publicKey.pemRepresentation.utf8, Mint.elliptic.publicKey.rawRepresentation,
        ]
        for text in texts {
            let bytes = Array(AnySequence(text.map { $0 }))
            for id in ["r", "e"] {
                let token = Mint.hs256("{\"alg\":\"HS256\",\"kid\":\"\(id)\"}", goodClaims, bytes)
                #expect(refusal(token, verifier) == .unknownKey)
            }
            #expect(refusal(Mint.hs256(#"{"alg":"HS256"}"#, goodClaims, bytes), verifier) == .signature)
        }
    }

    @Test func aKeyIsForOneAlgorithm() async throws {
        let verifier = try await verifier()
        #expect(try refusal(Mint.rs256(#"{"alg":"RS256","kid":"e"}"#, goodClaims), verifier) == .unknownKey)
        #expect(try refusal(Mint.es256(#"{"alg":"ES256","kid":"r"}"#, goodClaims), verifier) == .unknownKey)
        #expect(try refusal(Mint.es256(#"{"alg":"RS256","kid":"r"}"#, goodClaims), verifier) == .signature)
        #expect(try refusal(Mint.rs256(#"{"alg":"ES256","kid":"e"}"#, goodClaims), verifier) == .signature)
        #expect(
            try refusal(Mint.rs256(#"{"alg":"RS256","kid":"r"}"#, goodClaims, padding: .PSS), verifier) == .signature)
    }

    @Test func anUnknownOrMissingKeyIdFindsNoKey() async throws {
        let verifier = try await verifier()
        for header in [#"{"alg":"RS256"}"#, #"{"alg":"RS256","kid":"x"}"#, #"{"alg":"RS256","kid":"R"}"#] {
            #expect(try refusal(Mint.rs256(header, goodClaims), verifier) == .unknownKey)
        }
        #expect(try refusal(Mint.es256(#"{"alg":"ES256"}"#, goodClaims), verifier) == .unknownKey)
        // The secret without id is not for tokens that name one, nor the other way round.
        #expect(refusal(Mint.hs256(#"{"alg":"HS256","kid":"x"}"#, goodClaims), verifier) == .unknownKey)
        #expect(refusal(Mint.hs256(#"{"alg":"HS256","kid":"h"}"#, goodClaims), verifier) == .signature)
        for id in ["null", "0", "\"\"", "[\"r\"]", "{}", "\"\(String(repeating: "k", count: 256))\""] {
            #expect(try refusal(Mint.rs256("{\"alg\":\"RS256\",\"kid\":\(id)}", goodClaims), verifier) == .malformed)
        }
        let one = TokenVerifier(
            keys: try await TokenKeys.make(
                secrets: [], keySet: try KeySet(parsing: Array("{\"keys\":[\(Mint.rsaKey())]}".utf8))), rules: .init())
        #expect(try refusal(Mint.rs256(#"{"alg":"RS256","kid":"other"}"#, goodClaims), one) == .unknownKey)
        #expect(refusal(Mint.hs256(#"{"alg":"HS256"}"#, goodClaims), one) == .unknownKey)
        #expect(refusal(Mint.hs256(#"{"alg":"HS256"}"#, goodClaims, []), one) == .unknownKey)
    }

    @Test func theKeyIsNeverTakenFromTheToken() async throws {
        let verifier = try await verifier()
        let own = "\"jwk\":\(Mint.ellipticKey("own")),\"jku\":\"http://127.0.0.1/keys\",\"x5u\":\"file:///etc/passwd\""
        #expect(
            try refusal(Mint.es256("{\"alg\":\"ES256\",\"kid\":\"own\",\(own)}", goodClaims), verifier) == .unknownKey)
        #expect(try refusal(Mint.es256("{\"alg\":\"ES256\",\(own)}", goodClaims), verifier) == .unknownKey)
    }

    @Test func criticalExtensionsAreNotUnderstood() async throws {
        let verifier = try await verifier()
        for value in ["[\"exp\"]", "[]", "[\"b64\"]", "null", "\"x\""] {
            #expect(refusal(Mint.hs256("{\"alg\":\"HS256\",\"crit\":\(value)}", goodClaims), verifier) == .critical)
        }
    }

    @Test func signaturesThatAreNone() async throws {
        let verifier = try await verifier()
        let header = #"{"alg":"ES256","kid":"e"}"#
        let input = Mint.input(header, goodClaims)
        #expect(refusal(input + ".", verifier) == .signature)
        // r = s = 0 is a signature of everything where nobody checks (CVE-2022-21449).
        #expect(refusal(input + "." + Mint.base64URL([UInt8](repeating: 0, count: 64)), verifier) == .signature)
        #expect(try refusal(Mint.es256(header, goodClaims, der: true), verifier) == .signature)
        #expect(refusal(Mint.input(#"{"alg":"HS256"}"#, goodClaims) + ".", verifier) == .signature)
        #expect(refusal(Mint.input(#"{"alg":"RS256","kid":"r"}"#, goodClaims) + ".AAAA", verifier) == .signature)
        let good = Mint.hs256(#"{"alg":"HS256"}"#, goodClaims)
        #expect(refusal(String(good.dropLast(3)), verifier) == .signature)
        #expect(refusal(good, verifier) == nil)
    }

    @Test func whatWasSignedMayNotChange() async throws {
        let verifier = try await verifier()
        let parts = Mint.hs256(#"{"alg":"HS256"}"#, #"{"exp":1800003600}"#).split(separator: ".")
        let claims = Mint.base64URL(goodClaims.utf8)
        #expect(refusal("\(parts[0]).\(claims).\(parts[2])", verifier) == .signature)
        let header = Mint.base64URL(#"{"alg":"HS256" }"#.utf8)
        #expect(refusal("\(header).\(parts[1]).\(parts[2])", verifier) == .signature)
    }

    @Test func tokensHaveOneText() async throws {
        let verifier = try await verifier()
        let good = Mint.hs256(#"{"alg":"HS256"}"#, goodClaims)
        let parts = good.split(separator: ".").map(String.init)
        for bad in [
            good + "=", good + ".", "." + good, " " + good, good + " ", good + "\n", parts[0] + "." + parts[1],
            "\(parts[0])=.\(parts[1]).\(parts[2])", parts.joined(separator: ".."), "..", ".", "a.b.c", "é.é.é",
            good.replacing("e", with: "+"), good.replacing("e", with: "/"), good + "AA", "\u{0}" + good,
        ] {
            #expect(refusal(bad, verifier) == .malformed, "\(bad.prefix(40))")
        }
        // The last letter of 32 bytes has two bits that mean nothing: only zeros are written by anybody.
        let last = try #require(good.last)
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        let index = try #require(letters.firstIndex(of: last))
        #expect(refusal(String(good.dropLast()) + String(letters[index + 1]), verifier) == .malformed)
    }

    @Test func lengthIsBoundedBeforeAnythingElse() async throws {
        let verifier = try await verifier()
        let room = CompactToken.maxBytes - 400
        let padded = "{\"exp\":\(inAnHour),\(allowsAll),\"x\":\"\(String(repeating: "x", count: room / 4 * 3))\"}"
        let long = Mint.hs256(#"{"alg":"HS256"}"#, padded)
        #expect(long.utf8.count <= CompactToken.maxBytes && long.utf8.count > CompactToken.maxBytes - 400)
        #expect(refusal(long, verifier) == nil)
        #expect(refusal(long + String(repeating: "A", count: 400), verifier) == .tooLong)
        #expect(refusal(String(repeating: "a", count: 1 << 20), verifier) == .tooLong)
        #expect(refusal(String(repeating: ".", count: CompactToken.maxBytes), verifier) == .malformed)
        let header = "{\"alg\":\"HS256\",\"x\":\"\(String(repeating: "x", count: 1_100))\"}"
        #expect(refusal(Mint.hs256(header, goodClaims), verifier) == .malformed)
    }

    @Test func namesThatStandTwiceAreRefused() async throws {
        let verifier = try await verifier()
        for claims in [
            "{\"exp\":1,\"exp\":\(inAnHour),\(allowsAll)}", "{\"exp\":\(inAnHour),\(allowsAll),\"\\u0065xp\":1}",
            "{\"exp\":\(inAnHour),\"weir\":{\"publish\":[],\"publish\":[\"*\"]}}",
            "{\"exp\":\(inAnHour),\(allowsAll),\"weir\":{}}",
            "{\"exp\":\(inAnHour),\(allowsAll),\"x\":[{\"a\":1,\"a\":1}]}",
        ] {
            #expect(refusal(Mint.hs256(#"{"alg":"HS256"}"#, claims), verifier) == .duplicate, "\(claims)")
        }
        #expect(refusal(Mint.hs256(#"{"alg":"none","alg":"HS256"}"#, goodClaims), verifier) == .duplicate)
        #expect(refusal(Mint.hs256(#"{"alg":"HS256","\u0061lg":"none"}"#, goodClaims), verifier) == .duplicate)
        // Escapes alone are no harm.
        #expect(refusal(Mint.hs256(#"{"\u0061lg":"\u0048S256"}"#, goodClaims), verifier) == nil)
    }

    @Test func whatIsNoJSONObjectIsRefused() async throws {
        let verifier = try await verifier()
        let deep = String(repeating: "[", count: 5_000)
        for text in ["", "null", "[]", "\"x\"", "{", "{}x", "{\"exp\":1", deep, "{\"a\":\(deep)", "\u{FEFF}{}"] {
            #expect(refusal(Mint.hs256(#"{"alg":"HS256"}"#, text), verifier) == .malformed, "\(text.prefix(20))")
            #expect(refusal(Mint.hs256(text, goodClaims), verifier) == .malformed, "\(text.prefix(20))")
        }
        let levels = String(repeating: "{\"a\":", count: 40) + "1" + String(repeating: "}", count: 40)
        let nested = "{\"exp\":\(inAnHour),\(allowsAll),\"x\":\(levels)}"
        #expect(refusal(Mint.hs256(#"{"alg":"HS256"}"#, nested), verifier) == .malformed)
    }
}
