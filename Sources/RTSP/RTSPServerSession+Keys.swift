import SDP
import Wire

/// Keys of SRTP: who may have them, and how they are told (RFC 4567 MIKEY, RFC 4568 SDES).
///
/// Each session has keys of its own, one for each track and direction. A player learns ours from its description, or from
/// the answer to SETUP, and tells its own, of its reports, in SETUP; a publisher tells its own in ANNOUNCE or SETUP.
extension RTSPServerSession {
    enum KeyExchange { case mikey, sdes }

    struct OwnKey {
        var master: SRTPMaster
        var ledger = SRTPKeyLedger()
    }

    /// What SETUP has agreed about a track.
    struct TrackSecurity {
        var keys: SRTPTrackKeys
        /// Tells our key; nil: the client knows it.
        var answer: MIKEYMessage?
    }

    /// Why no keys are told in this connection; nil: they may be.
    var keysRefusal: String? {
        guard settings.srtp != .off, keyMaker != nil else { return "there is no SRTP (rtsp.srtp)" }
        guard peer.isSecure || settings.srtpWithoutTLS else { return "keys of SRTP are told over TLS only, use rtsps" }
        return nil
    }

    /// What keeps a track from going this way, as far as SRTP is concerned.
    func srtpRefusal(_ way: RTSPTransport) -> String? {
        switch (way.profile.isSecure, way.lower) {
        case (true, .udp): keysRefusal
        case (true, .tcp): "SRTP goes by UDP; in a connection ask for RTP/AVP/TCP, which its TLS protects"
        case (false, .udp): settings.srtp == .required ? "by UDP goes SRTP alone (rtsp.srtp), ask for RTP/SAVP" : nil
        case (false, .tcp): nil
        }
    }

    /// RFC 4567 §5.4 has 463, which in RTSP 2.0 means something else.
    func keyFailure(_ reason: String, _ current: Current) -> RTSPStatus {
        current.request.version == .v2
            ? RTSPStatus(461, "Unsupported Transport: \(reason)") : RTSPStatus(463, "Key Management Failure: \(reason)")
    }

    // MARK: Players

    /// What the player's URL asks for: `?srtp=mikey` or `?srtp=sdes`.
    var wantedExchange: KeyExchange? {
        for part in (query ?? "").split(separator: "&").prefix(64) {
            let (name, value) = part.halves(at: UInt8(ascii: "="))
            guard name == "srtp" else { continue }
            if value == "sdes" { return .sdes }
            if value == "mikey" { return .mikey }
        }
        return settings.srtp == .required && keysRefusal == nil ? .mikey : nil
    }

    /// For the description of a stream.
    mutating func keyOffers(name: String, count: Int) -> [RTSPDescription.KeyOffer] {
        guard let exchange, let keyMaker else { return [] }
        return (0..<count).map { index in
            let master = ownKey(of: index, keyMaker).master
            switch exchange {
            case .mikey: return .mikey(MIKEYMessage(master, ssrc: makeSSRC(name, index), by: keyMaker))
            case .sdes: return .sdes(SDESCrypto(tag: 1, master: master))
            }
        }
    }

    /// Nil for a way without SRTP.
    mutating func playerKeys(
        _ current: Current, _ way: RTSPTransport, index: Int, ssrc: UInt32
    ) throws(SRTPKeyError) -> TrackSecurity? {
        guard way.profile.isSecure, let keyMaker else { return nil }
        let theirs = try toldMaster(current)
        let own = ownKey(of: index, keyMaker)
        // Who tells none protects its reports under ours, from a source of its own.
        return TrackSecurity(
            keys: SRTPTrackKeys(own.master.material(remote: theirs ?? own.master), ledger: own.ledger),
            answer: exchange == .sdes ? nil : MIKEYMessage(own.master, ssrc: ssrc, by: keyMaker))
    }

    // MARK: Publishers

    mutating func publisherKeys(
        _ current: Current, _ way: RTSPTransport, _ track: RTSPDescription.Track, index: Int
    ) throws(SRTPKeyError) -> TrackSecurity? {
        guard way.profile.isSecure, let keyMaker else { return nil }
        var told = try toldMaster(current)
        if told == nil { told = try track.keys?.master.get() }
        guard let theirs = told else {
            throw .malformed("none, neither in the description (a=key-mgmt, a=crypto) nor in SETUP (KeyMgmt)")
        }
        if track.keys?.isSDES == true, current.request.headers["KeyMgmt"] == nil {
            // There is no way to tell ours.
            return TrackSecurity(keys: SRTPTrackKeys(theirs.material(remote: theirs), ledger: SRTPKeyLedger()))
        }
        let own = ownKey(of: index, keyMaker)
        return TrackSecurity(
            keys: SRTPTrackKeys(own.master.material(remote: theirs), ledger: own.ledger),
            answer: MIKEYMessage(own.master, ssrc: 0, by: keyMaker))
    }

    // MARK: Keys

    /// The client's key of the track that SETUP is about; nil: it tells none.
    private func toldMaster(_ current: Current) throws(SRTPKeyError) -> SRTPMaster? {
        if let value = current.request.headers["KeyMgmt"] { return try KeyManagement.parse(header: value)?.master() }
        let transports = RTSPTransport.parse(current.request.headers.values("Transport").joined(separator: ","))
        guard let text = transports.lazy.compactMap(\.mikey).first else { return nil }
        return try KeyManagement.message(text).master()
    }

    /// The same for a session's track however often it is set up: players take it from the description.
    private mutating func ownKey(of index: Int, _ maker: RTSPKeyMaker) -> OwnKey {
        if let known = ownKeys[index] { return known }
        let made = OwnKey(master: maker.master())
        ownKeys[index] = made
        return made
    }

    mutating func forgetKeys() { (exchange, ownKeys) = (nil, [:]) }
}

// MARK: - Descriptions

extension RTSPDescription {
    /// How the key of a track is told in a description.
    package enum KeyOffer: Sendable {
        case mikey(MIKEYMessage)
        case sdes(SDESCrypto)

        var attribute: SDPAttribute {
            switch self {
            case .mikey(let message): KeyManagement.attribute(message)
            case .sdes(let crypto): crypto.attribute
            }
        }
    }
}

extension RTSPDescription.Keys {
    /// The first that can be used; else why the first cannot be.
    init?(_ attributes: [SDPAttribute]) {
        var failure: Self?
        for attribute in attributes {
            let keys: Self
            do throws(SRTPKeyError) {
                switch attribute.name {
                case "key-mgmt":
                    guard let message = try KeyManagement.parse(attribute: attribute.value ?? "") else { continue }
                    keys = Self(master: .success(try message.master()), isSDES: false)
                case "crypto":
                    keys = Self(
                        master: .success(try SDESCrypto(parsing: attribute.value ?? "").master), isSDES: true)
                default: continue
                }
            } catch {
                failure = failure ?? Self(master: .failure(error), isSDES: attribute.name == "crypto")
                continue
            }
            self = keys
            return
        }
        guard let failure else { return nil }
        self = failure
    }
}
