import ControlPlane
import Crypto
import CryptoExtras
import Foundation
import Logging
import Tokens

/// Makes tokens, good ones and such as an attacker makes: header and claims are JSON texts.
enum Mint {
    static let secret = "0123456789abcdef0123456789abcdef"
    static let elliptic = P256.Signing.PrivateKey()
    // Making one takes a while: once for all tests.
    static let rsa = try! _RSA.Signing.PrivateKey(keySize: .bits2048)

    static func base64URL(_ bytes: some Sequence<UInt8>) -> String {
        Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    static func input(_ header: String, _ claims: String) -> String {
        base64URL(header.utf8) + "." + base64URL(claims.utf8)
    }

    static func hs256(_ header: String, _ claims: String, _ secret: some Sequence<UInt8> = secret.utf8) -> String {
        let input = input(header, claims)
        let code = HMAC<SHA256>.authenticationCode(
            for: Data(input.utf8), using: SymmetricKey(data: Data(secret)))
        return input + "." + base64URL(code)
    }

    static func es256(_ header: String, _ claims: String, der: Bool = false) throws -> String {
        let input = input(header, claims)
        let signature = try elliptic.signature(for: Data(input.utf8))
        return input + "." + base64URL(der ? signature.derRepresentation : signature.rawRepresentation)
    }

    static func rs256(
        _ header: String, _ claims: String, padding: _RSA.Signing.Padding = .insecurePKCS1v1_5
    ) throws -> String {
        let input = input(header, claims)
        let signature = try rsa.signature(for: SHA256.hash(data: Data(input.utf8)), padding: padding)
        return input + "." + base64URL(signature.rawRepresentation)
    }

    /// The JWK Set of both public keys, with ids `r` and `e`.
    static var keySet: String { "{\"keys\":[\(rsaKey()),\(ellipticKey())]}" }

    static func rsaKey(_ id: String = "r", more: String = "\"alg\":\"RS256\",\"use\":\"sig\"") -> String {
        let numbers = try! rsa.publicKey.getKeyPrimitives()
        return "{\"kty\":\"RSA\",\"kid\":\"\(id)\",\(more),\"n\":\"\(base64URL(numbers.modulus))\","
            + "\"e\":\"\(base64URL(numbers.publicExponent))\"}"
    }

    static func ellipticKey(_ id: String = "e", more: String = "\"alg\":\"ES256\"") -> String {
        let point = elliptic.publicKey.rawRepresentation
        return "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"\(id)\",\(more),\"x\":\"\(base64URL(point.prefix(32)))\","
            + "\"y\":\"\(base64URL(point.suffix(32)))\"}"
    }
}

/// When the tests are.
let now = 1_800_000_000.0
let inAnHour = "1800003600"
let allowsAll = "\"weir\":{\"publish\":[\"*\"],\"play\":[\"*\"]}"
let goodClaims = "{\"exp\":\(inAnHour),\(allowsAll)}"

/// Secrets without id and with the id `h`, and the keys of `Mint.keySet`.
func verifier(_ rules: TokenVerifier.Rules = .init()) async throws -> TokenVerifier {
    let keys = try await TokenKeys.make(
        secrets: [TokenSecret(secret: Mint.secret), TokenSecret(id: "h", secret: Mint.secret + "-h")],
        keySet: try KeySet(parsing: Array(Mint.keySet.utf8)))
    return TokenVerifier(keys: keys, rules: rules)
}

/// Why a token does not allow to publish `cam`; nil if it does.
func refusal(_ token: String?, _ verifier: TokenVerifier, _ action: StreamAction = .publish) -> TokenRefusal? {
    do throws(TokenRefusal) {
        _ = try verifier.allow(token: token, action: action, stream: "cam", now: now)
        return nil
    } catch {
        return error
    }
}

let quiet: Logger = {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return logger
}()
