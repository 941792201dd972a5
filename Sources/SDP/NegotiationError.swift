/// Why an offer could not be answered. Texts are for logs and for the client's developer.
package enum NegotiationError: Error, Equatable, Sendable {
    /// Not SDP, or SDP beyond our limits.
    case malformed(String)
    /// No format of the offer suits: `No common codecs` of the WCS protocol.
    case noCommonCodecs
    /// No audio or video m-line in the direction that is needed.
    case noMedia
    /// `a=ice-ufrag` or `a=ice-pwd` is missing or too short on an m-line that would be accepted.
    case missingCredentials
    /// No `a=fingerprint` with a hash that we can check.
    case missingFingerprint
    /// `a=rtcp-mux` is missing: Weir has one port for everything.
    case rtcpMuxRequired
    /// The client asks for TCP, and the server has no TCP candidate (or no candidate at all).
    case noCandidates
}

extension NegotiationError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .malformed(let why): "malformed SDP: \(why)"
        case .noCommonCodecs: "no common codecs"
        case .noMedia: "the offer has no audio or video m-line in the direction needed"
        case .missingCredentials: "a=ice-ufrag (4 to 256 characters) or a=ice-pwd (22 to 256) is missing"
        case .missingFingerprint: "a=fingerprint with sha-1, sha-256, sha-384 or sha-512 is missing"
        case .rtcpMuxRequired: "a=rtcp-mux is missing; RTP and RTCP on separate ports are not supported"
        case .noCandidates: "the server has no candidate address for the transport asked for"
        }
    }
}
