import ControlPlane
import Testing
import Tokens

@Suite struct ClaimTests {
    private func refuse(
        _ claims: String, _ rules: TokenVerifier.Rules = .init(), _ action: StreamAction = .publish
    ) async throws -> TokenRefusal? {
        refusal(Mint.hs256(#"{"alg":"HS256"}"#, claims), try await verifier(rules), action)
    }

    @Test func withoutATokenNothingIsAllowed() async throws {
        let verifier = try await verifier()
        #expect(refusal(nil, verifier) == .missing)
        #expect(refusal("", verifier) == .missing)
    }

    @Test(
        arguments: [
            ("1800000001", nil), ("1800000000", .expired), ("1799999999", .expired), ("1800000000.5", nil),
            ("1.8000036e9", nil), ("253402300799", nil), ("0", .expired), ("-1", .expired), ("-9e15", .expired),
            ("-0", .expired), ("253402300800", .malformed), ("1800003600000", .malformed), ("1e400", .malformed),
            ("99999999999999999999999999", .malformed), ("-1e300", .malformed), ("\"1800003600\"", .malformed),
            ("null", .malformed), ("true", .malformed), ("[1800003600]", .malformed), ("{}", .malformed),
            ("1800003600.\(String(repeating: "0", count: 100))", .malformed),
        ] as [(String, TokenRefusal?)])
    func anExpiryIsANumberOfSecondsToCome(value: String, expected: TokenRefusal?) async throws {
        #expect(try await refuse("{\"exp\":\(value),\(allowsAll)}") == expected)
    }

    @Test func anExpiryIsNeeded() async throws {
        #expect(try await refuse("{\(allowsAll)}") == .noExpiry)
        #expect(try await refuse("{\"EXP\":\(inAnHour),\(allowsAll)}") == .noExpiry)
    }

    @Test(
        arguments: [
            ("1800000000", nil), ("1800000001", .notYetValid), ("0", nil), ("-5", nil), ("\"0\"", .malformed),
            ("null", .malformed), ("1e99", .malformed),
        ] as [(String, TokenRefusal?)])
    func aTokenMayBeForLater(value: String, expected: TokenRefusal?) async throws {
        #expect(try await refuse("{\"exp\":\(inAnHour),\"nbf\":\(value),\(allowsAll)}") == expected)
    }

    @Test func clocksMayDiffer() async throws {
        let rules = TokenVerifier.Rules(leeway: 10)
        #expect(try await refuse("{\"exp\":1799999991,\(allowsAll)}", rules) == nil)
        #expect(try await refuse("{\"exp\":1799999990,\(allowsAll)}", rules) == .expired)
        #expect(try await refuse("{\"exp\":\(inAnHour),\"nbf\":1800000010,\(allowsAll)}", rules) == nil)
        #expect(try await refuse("{\"exp\":\(inAnHour),\"nbf\":1800000011,\(allowsAll)}", rules) == .notYetValid)
    }

    @Test(
        arguments: [
            ("\"me\"", nil), ("\"you\"", .issuer), ("\"ME\"", .issuer), ("\"\"", .issuer), ("[\"me\"]", .malformed),
            ("null", .malformed),
        ] as [(String, TokenRefusal?)])
    func theIssuerIsTheConfiguredOne(value: String, expected: TokenRefusal?) async throws {
        let rules = TokenVerifier.Rules(issuer: "me")
        #expect(try await refuse("{\"exp\":\(inAnHour),\"iss\":\(value),\(allowsAll)}", rules) == expected)
        #expect(try await refuse(goodClaims, rules) == .issuer)
    }

    @Test func anIssuerIsNotAskedForUnlessConfigured() async throws {
        #expect(try await refuse("{\"exp\":\(inAnHour),\"iss\":\"anybody\",\(allowsAll)}") == nil)
    }

    @Test(
        arguments: [
            ("\"weir\"", nil), ("[\"a\",\"weir\"]", nil), ("\"weird\"", .audience), ("[]", .audience),
            ("[\"a\"]", .audience),
            ("[\"weir\",1]", .malformed), ("null", .malformed), ("{\"weir\":1}", .malformed),
        ] as [(String, TokenRefusal?)])
    func theAudienceHoldsTheConfiguredOne(value: String, expected: TokenRefusal?) async throws {
        let rules = TokenVerifier.Rules(audience: "weir")
        #expect(try await refuse("{\"exp\":\(inAnHour),\"aud\":\(value),\(allowsAll)}", rules) == expected)
        #expect(try await refuse(goodClaims, rules) == .audience)
    }

    @Test func whoHasNoAudienceRefusesTokensForOthers() async throws {
        // RFC 7519 §4.1.3.
        #expect(try await refuse("{\"exp\":\(inAnHour),\"aud\":\"shop\",\(allowsAll)}") == .audience)
        #expect(try await refuse("{\"exp\":\(inAnHour),\"aud\":[],\(allowsAll)}") == nil)
    }

    @Test func rightsAreForOneActionAndItsNames() async throws {
        let publisher = "{\"exp\":\(inAnHour),\"sub\":\"ann\",\"weir\":{\"publish\":[\"x\",\"c*m\"]}}"
        #expect(try await refuse(publisher) == nil)
        #expect(try await refuse(publisher, .init(), .play) == .noRight)
        let player = "{\"exp\":\(inAnHour),\"weir\":{\"play\":[\"cam\"],\"publish\":[\"cam2\"]}}"
        #expect(try await refuse(player, .init(), .play) == nil)
        #expect(try await refuse(player) == .noRight)
        for none in [
            "{\"exp\":\(inAnHour)}", "{\"exp\":\(inAnHour),\"weir\":{}}",
            "{\"exp\":\(inAnHour),\"weir\":{\"play\":[]}}",
        ] {
            #expect(try await refuse(none, .init(), .play) == .noRight)
        }
    }

    @Test(arguments: [
        "null", "true", "\"*\"", "[\"*\"]", "{\"publish\":\"*\"}", "{\"publish\":true}", "{\"publish\":[1]}",
        "{\"publish\":[\"\"]}", "{\"publish\":[\"*\",\"**\"]}", "{\"publish\":[\"*\",\"a*b*\"]}", "{\"play\":null}",
        "{\"publish\":[\(Array(repeating: "\"*\"", count: 201).joined(separator: ","))]}",
    ])
    func rightsThatAreNotClearAreNone(value: String) async throws {
        #expect(try await refuse("{\"exp\":\(inAnHour),\"weir\":\(value)}") == .malformed)
    }

    @Test func aRefusalSaysWhetherABetterTokenWouldHelp() {
        for refusal in TokenRefusal.allCases {
            #expect(refusal.code.rawValue == (refusal == .noRight ? 403 : 401))
            #expect(refusal.rights.info == refusal.rawValue)
        }
        #expect(TokenRefusal.expired.rights == RightsRefusal.expired)
    }
}
