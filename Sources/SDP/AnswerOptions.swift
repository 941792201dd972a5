/// A transport address of ICE (RFC 8839 §5.1, RFC 6544 §4.5), as far as a lite agent needs it.
package struct Candidate: Sendable, Hashable {
    package enum Transport: String, Sendable, Hashable { case udp, tcp }
    /// Address in text form, without brackets.
    package var ip: String
    package var port: UInt16
    package var transport: Transport

    package init(ip: String, port: UInt16, transport: Transport = .udp) {
        self.ip = ip
        self.port = port
        self.transport = transport
    }
}

/// How the players' bandwidth is learnt.
package enum PlayerFeedback: String, Sendable, Hashable {
    /// `goog-remb` with abs-send-time: the player estimates. Cheapest for a large fan-out.
    case remb
    /// `transport-cc`: the player reports arrivals, the server estimates.
    case transportCC = "transport-cc"
    case none
}

/// What an answer is made of beside the offer. Randomness comes in by closures, so that tests can fix it.
package struct AnswerOptions: Sendable {
    /// The server's host candidates, in order of preference; TCP ones are passive.
    package var candidates: [Candidate]
    /// SHA-256 of our certificate, `AB:CD:…`.
    package var fingerprint: String
    /// The client asked for TCP: UDP candidates are left out of the answer.
    package var preferTCP = false
    /// Bounds of a publisher's video bitrate, kbit/s; 0 is no bound.
    package var minBitrate = 0
    package var maxBitrate = 0
    /// Bitrate that a publisher should start with, kbit/s; 0 leaves it to the browser.
    package var startBitrate = 0
    /// `cname` of the sources that we send.
    package var cname = "weir"
    /// Stream id of the msid of all tracks to one player.
    package var streamID = "weir"
    package var playerFeedback = PlayerFeedback.remb
    /// Names in order of preference; codecs that are not listed follow in the order of the offer.
    package var preferredVideoCodecs: [String] = []
    package var preferredAudioCodecs: [String] = ["opus"]
    /// Names of codecs that may be used, whatever the case; empty is every codec that Weir can forward.
    package var allowedCodecs: [String] = []
    /// Accept `urn:3gpp:video-orientation` of a publisher (`cvoExtension`), which then leaves turning to the players;
    /// otherwise it turns its pictures itself, which suits every player.
    package var videoOrientation = false
    /// Number in the `o=` line; below 2^63.
    package var sessionID: UInt64 = 1
    package var makeCredentials: @Sendable () -> (ufrag: String, password: String)
    /// A random SSRC; called again where it gives 0 or a number that is in use.
    package var makeSSRC: @Sendable () -> UInt32

    package init(
        candidates: [Candidate], fingerprint: String,
        makeCredentials: @escaping @Sendable () -> (ufrag: String, password: String),
        makeSSRC: @escaping @Sendable () -> UInt32
    ) {
        self.candidates = candidates
        self.fingerprint = fingerprint
        self.makeCredentials = makeCredentials
        self.makeSSRC = makeSSRC
    }
}
