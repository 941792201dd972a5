import Crypto
import FoundationEssentials

extension Application.Credentials {
    private static let hexadecimal = Array("0123456789abcdef".utf8)

    /// Value of `Authorization` for a body.
    package func authorization(for body: [UInt8]) -> String? {
        switch self {
        case .none: return nil
        case .basic(let username, let password):
            return "Basic \(Data("\(username):\(password)".utf8).base64EncodedString())"
        case .signature(let secret):
            // MD5 is the vendor's choice; as HMAC it is not known to be broken (RFC 6151 §2.3).
            let code = HMAC<Insecure.MD5>.authenticationCode(for: body, using: SymmetricKey(data: Data(secret.utf8)))
            let hex = code.flatMap { [Self.hexadecimal[Int($0 >> 4)], Self.hexadecimal[Int($0 & 15)]] }
            return "WCS \(String(decoding: hex, as: UTF8.self))"
        }
    }
}
