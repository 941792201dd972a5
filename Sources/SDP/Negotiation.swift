/// What offer and answer agreed on for one m-line that carries media.
package struct NegotiatedTrack: Sendable, Hashable {
    package var kind: MediaKind
    /// Place of the m-line in the offer, from 0.
    package var mLineIndex: Int
    package var mid: String?
    package var codec: RTPCodec
    /// Accepted header extensions: URI to local id (1...14, or up to 255 in the two-byte form).
    package var extensions: [String: UInt8]
    /// Which of `Negotiation.transports` carries the track.
    package var transportIndex: Int

    /// Publisher: source of the media, if the offer names it; of a simulcast group the first.
    package var ssrc: UInt32?
    /// Publisher: source of its retransmissions (FID group), if the offer names it.
    package var rtxSSRC: UInt32?
    /// Publisher: every source that the m-line names, in the order of the offer.
    package var allSSRCs: [UInt32]

    /// Player: source of the media that we send; 0 for publishers.
    package var sendSSRC: UInt32
    /// Player: source of our retransmissions; 0 without RTX and for publishers.
    package var sendRTXSSRC: UInt32

    /// `sprop-parameter-sets` of the offered H264 format, or `sprop-vps`, `-sps` and `-pps` of H265 one behind the other
    /// (base64, comma-separated), if given.
    package var parameterSets: String?
    /// Bounds of the video bitrate in kbit/s, `nil` where not limited.
    package var minBitrate: Int?
    package var maxBitrate: Int?

    package init(
        kind: MediaKind, mLineIndex: Int, mid: String?, codec: RTPCodec, extensions: [String: UInt8] = [:],
        transportIndex: Int = 0, ssrc: UInt32? = nil, rtxSSRC: UInt32? = nil, allSSRCs: [UInt32] = [],
        sendSSRC: UInt32 = 0, sendRTXSSRC: UInt32 = 0, parameterSets: String? = nil, minBitrate: Int? = nil,
        maxBitrate: Int? = nil
    ) {
        self.kind = kind
        self.mLineIndex = mLineIndex
        self.mid = mid
        self.codec = codec
        self.extensions = extensions
        self.transportIndex = transportIndex
        self.ssrc = ssrc
        self.rtxSSRC = rtxSSRC
        self.allSSRCs = allSSRCs
        self.sendSSRC = sendSSRC
        self.sendRTXSSRC = sendRTXSSRC
        self.parameterSets = parameterSets
        self.minBitrate = minBitrate
        self.maxBitrate = maxBitrate
    }
}

/// Our part in the DTLS handshake (RFC 5763 §5): `a=setup:passive` makes us the server.
package enum DTLSRole: String, Sendable, Hashable {
    case client, server
}

/// One ICE/DTLS association: a bundled session has one, an unbundled one has one per accepted m-line.
package struct NegotiatedTransport: Sendable, Hashable {
    /// Hash of a certificate (RFC 8122); `algorithm` in lower case, `hex` as offered (`AB:CD:…`).
    package struct Fingerprint: Sendable, Hashable {
        package var algorithm: String
        package var hex: String
        package init(algorithm: String, hex: String) {
            self.algorithm = algorithm
            self.hex = hex
        }
    }

    package var localUfrag: String
    package var localPassword: String
    package var remoteUfrag: String
    package var remotePassword: String
    package var fingerprints: [Fingerprint]
    /// Ours.
    package var dtlsRole: DTLSRole
    /// The client asked for TCP: the answer lists TCP candidates only.
    package var transportIsTCPOnly: Bool
    /// Candidates of the offer that could be used as they are; a lite agent learns the rest from checks.
    package var remoteCandidates: [Candidate]

    package init(
        localUfrag: String, localPassword: String, remoteUfrag: String, remotePassword: String,
        fingerprints: [Fingerprint], dtlsRole: DTLSRole, transportIsTCPOnly: Bool = false,
        remoteCandidates: [Candidate] = []
    ) {
        self.localUfrag = localUfrag
        self.localPassword = localPassword
        self.remoteUfrag = remoteUfrag
        self.remotePassword = remotePassword
        self.fingerprints = fingerprints
        self.dtlsRole = dtlsRole
        self.transportIsTCPOnly = transportIsTCPOnly
        self.remoteCandidates = remoteCandidates
    }
}

/// The outcome of one offer: text for the client, facts for the engine.
package struct Negotiation: Sendable, Hashable {
    package var answer: String
    package var transports: [NegotiatedTransport]
    /// In the order of the m-lines; refused ones are not listed.
    package var tracks: [NegotiatedTrack]
    /// Both ends take reduced-size RTCP (RFC 5506) on every accepted m-line.
    package var reducedSizeRTCP: Bool

    package init(
        answer: String, transports: [NegotiatedTransport], tracks: [NegotiatedTrack], reducedSizeRTCP: Bool = false
    ) {
        self.answer = answer
        self.transports = transports
        self.tracks = tracks
        self.reducedSizeRTCP = reducedSizeRTCP
    }
}
