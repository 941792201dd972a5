import ControlPlane

/// Why a token does not open a stream. The text is for the client, the name is the metrics label and in the log.
///
/// Nothing of the token is in it. Who sends a token can read it anyway, so there is no harm in telling what is wrong, and
/// a developer who is told "not valid" guesses for an hour.
package enum TokenRefusal: String, Error, Hashable, Sendable, CaseIterable {
    case missing = "Token is missing"
    case tooLong = "Token is too long"
    /// Not three parts of base64url with JSON objects in the first two, or a claim of the wrong type.
    case malformed = "Token is malformed"
    /// A name twice in one object: readers differ about which one counts.
    case duplicate = "Token has a name twice"
    case algorithm = "Token is signed by an algorithm that is not accepted"
    /// `crit` names extensions that we must understand; we understand none (RFC 7515 §4.1.11).
    case critical = "Token demands an extension that is not understood"
    case unknownKey = "Token is signed by an unknown key"
    case signature = "Token signature is wrong"
    case noExpiry = "Token has no expiry"
    case expired = "Token has expired"
    case notYetValid = "Token is not valid yet"
    case issuer = "Token is of another issuer"
    case audience = "Token is for another audience"
    /// Valid, but without the right to do this to this stream.
    case noRight = "Token does not allow this"

    /// 403 for a good token without the right, 401 for everything that a better token would mend (RFC 6750 §3.1).
    package var code: StatusCode { self == .noRight ? .forbidden : .unauthorized }

    package var rights: RightsRefusal { RightsRefusal(code: code, info: rawValue, label: "token_\(self)") }
}
