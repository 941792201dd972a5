import MediaFormats
import RTSP
import Testing
import Wire

@Suite struct MIKEYTests {
    /// By GStreamer 1.22 (`gst_mikey_message_new_from_caps`), for the key 00 01 … 1d and the source 0x01020304.
    static let gstreamer =
        "AQAFAHbdNl0BAAABAgMEAAAAAAsA7q0vwhPOY6UKEPDnsbaOID8S17O5t3Mn1/YBAAAAFQABAQEBEAIBAQMBCgcBAQgBAQoBAQAAACIAIAAe"
        + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdAA=="
    /// The same with HMAC-SHA1-32, and with AES-256.
    static let shortTag =
        "AQAFAHk2tbABAAABAgMEAAAAAAsA7q01xUl9roEKEKP7rnF9xeWFiXKMPEhuHYABAAAAFQABAQEBEAIBAQMBBAcBAQgBAQoBAQAAACIAIAAe"
        + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdAA=="
    static let longKey =
        "AQAFAOO+Ul0BAAABAgMEAAAAAAsA7q01xUmEwnEKEFYvPo+x8zZBFCK99Qs3rLoBAAAAFQABAQEBIAIBAQMBCgcBAQgBAQoBAQAAADIAIAAu"
        + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLQA="
    /// A camera's client (ONVIF), whose every packet would carry a key's number.
    static let withKeyNumber =
        "AQAFAP1td9ABAADCD1UcAAAAAAoAAdOOGc75XD0BAAAAGAABAQEBEAIBAQMBFAcBAQgBAQoBAQsBCgAAACcAIQAe30C59UrClE0e27UP5h/Wty9U"
        + "L8+dfzg+2ttmmo3kBAAAAC8A"

    static func header(_ data: String) -> String { "prot=mikey; uri=\"rtsp://server/cam/trackID=0\"; data=\"\(data)\"" }
    static func message(_ data: String) throws -> MIKEYMessage {
        try #require(try KeyManagement.parse(header: header(data)))
    }
    static func failure(_ data: String) -> SRTPKeyError? {
        do throws(SRTPKeyError) {
            _ = try KeyManagement.parse(header: header(data))?.master()
            return nil
        } catch { return error }
    }

    @Test func whatGStreamerWrites() throws {
        let message = try Self.message(Self.gstreamer)
        #expect(message.bundle == 0x76dd_365d && message.sessions == [.init(policy: 0, ssrc: 0x0102_0304, rollOver: 0)])
        // 22 November 2026.
        #expect(message.time.map { $0 >> 32 } == 0xeead_2fc2 && message.random.count == 16)
        #expect(message.policies.map(\.number) == [0] && message.policies[0].parameters.count == 7)
        #expect(try message.master().bytes == Array(0..<30))
    }

    @Test func whatWeWriteIsReadTheSame() throws {
        let master = try #require(SRTPMaster(Array(100..<130)))
        let message = MIKEYMessage(
            master, ssrc: 0xfeed_beef, bundle: 0x8000_0001, time: 0xee00_0000_8000_0000, random: Array(0..<16))
        let again = try MIKEYMessage(parsing: message.bytes)
        let read = try again.master()
        #expect(again == message && read == master)
        // RFC 3830 §6.10.1: AES-CM of 128 bits, HMAC-SHA-1 of 160 with a tag of 80, encryption and authentication on.
        #expect(
            message.policies[0].parameters.map { [$0.type] + $0.value }
                == [[0, 1], [1, 16], [2, 1], [3, 20], [7, 1], [8, 1], [10, 1], [11, 10]])
        let header = KeyManagement.header(message, uri: "rtsp://server/cam/trackID=0")
        #expect(header.hasPrefix("prot=mikey;uri=\"rtsp://server/cam/trackID=0\";data=\""))
        let told = try KeyManagement.parse(header: header)
        #expect(told == message)
    }

    @Test func otherTransformsAreRefusedByName() throws {
        #expect(Self.failure(Self.gstreamer) == nil)
        #expect(Self.failure(Self.shortTag) == .unsupported("MIKEY policy authenticationKeyLength 4"))
        #expect(Self.failure(Self.longKey) == .unsupported("MIKEY policy keyLength 32"))
        #expect(Self.failure(Self.withKeyNumber) == .unsupported("MKI"))
        let bytes = try Self.message(Self.gstreamer).bytes
        // No encryption; no authentication; a source in its second round of numbers.
        for (place, value) in [(54, 0), (60, 0), (66, 0), (69, 0), (72, 0), (18, 1)] as [(Int, UInt8)] {
            var changed = bytes
            changed[place] = value
            let message = try MIKEYMessage(parsing: changed)
            #expect(throws: SRTPKeyError.self, "\(place)") { _ = try message.master() }
        }
    }

    @Test func hostileMessages() throws {
        let bytes = try Self.message(Self.gstreamer).bytes
        for length in bytes.indices {
            #expect(throws: SRTPKeyError.self, "\(length)") { _ = try MIKEYMessage(parsing: Array(bytes[..<length])) }
        }
        for place in bytes.indices {
            for value in [0, 1, 20, 0x7f, 0xff] as [UInt8] {
                var changed = bytes
                changed[place] = value
                guard let message = try? MIKEYMessage(parsing: changed) else { continue }
                _ = try? message.master()
                // What was taken out of it can be told on.
                let again = try MIKEYMessage(parsing: message.bytes)
                #expect(again.key == message.key && again.sessions == message.sessions, "\(place)")
            }
        }
        #expect(Self.failure("") == .malformed("a MIKEY message that is cut off"))
        #expect(Self.failure("A*") == .malformed("a MIKEY message that is no Base64"))
        #expect(Self.failure(String(repeating: "A", count: 100_000)) != nil)
        // As many payloads as fit, none of which is a key.
        let time: [UInt8] = [5, 2, 0, 0, 0, 0]
        let many = Array(bytes[..<2]) + [5] + bytes[3..<19] + (0..<1000).flatMap { _ in time }
        #expect(throws: SRTPKeyError.malformed("too many MIKEY payloads")) { _ = try MIKEYMessage(parsing: many) }
    }

    @Test func headers() throws {
        let other = "prot=kerberos;uri=\"rtsp://x\";data=\"AAAA\""
        let none = try KeyManagement.parse(header: other)
        #expect(none == nil)
        let second = try KeyManagement.parse(header: "\(other), PROT=\"MIKEY\" ;Data=\"\(Self.gstreamer)\"")
        #expect(second?.bundle == 0x76dd_365d)
        #expect(throws: SRTPKeyError.malformed("KeyMgmt without data")) {
            _ = try KeyManagement.parse(header: "prot=mikey;uri=\"\"")
        }
    }
}

@Suite struct SDESTests {
    static func crypto(_ value: String) -> Result<SDESCrypto, SRTPKeyError> {
        Result { () throws(SRTPKeyError) in try SDESCrypto(parsing: value) }
    }
    /// RFC 4568 §9.1
    static let key = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"

    @Test func keysOfTheStandard() throws {
        let plain = try Self.crypto("1 AES_CM_128_HMAC_SHA1_80 inline:\(Self.key)|2^20").get()
        #expect(plain.tag == 1 && plain.master.bytes == Array("=-n@%^x!Bjufr9)?,#5h\\`=&]{qiPQ".utf8))
        #expect(
            Self.crypto("1 AES_CM_128_HMAC_SHA1_80 inline:\(Self.key)|2^20|1:4") == .failure(.unsupported("MKI")))
        #expect(
            Self.crypto("2 AES_CM_128_HMAC_SHA1_32 inline:\(Self.key)")
                == .failure(.unsupported("crypto suite AES_CM_128_HMAC_SHA1_32")))
        #expect(
            Self.crypto("1 AES_CM_128_HMAC_SHA1_80 inline:\(Self.key) UNENCRYPTED_SRTP")
                == .failure(.unsupported("session parameter UNENCRYPTED_SRTP")))
    }

    @Test func whatIsNoKey() {
        for value in [
            "", "1", "x AES_CM_128_HMAC_SHA1_80 inline:\(Self.key)", "1 AES_CM_128_HMAC_SHA1_80 inline:",
            "1 AES_CM_128_HMAC_SHA1_80 inline:AAAA", "1 AES_CM_128_HMAC_SHA1_80 outline:\(Self.key)",
            "1 AES_CM_128_HMAC_SHA1_80 inline:\(Self.key)AA", "1 AES_CM_128_HMAC_SHA1_80 inline:\(Self.key);inline:x",
            "1 AES_CM_128_HMAC_SHA1_80 inline:" + String(repeating: "A", count: 1000),
        ] {
            guard case .failure = Self.crypto(value) else {
                Issue.record("taken: \(value)")
                continue
            }
        }
    }
}

/// SRTP of sessions: who is told keys, and which.
@Suite struct KeyedSessionTests {
    private static let savp: RTSPHeaders = ["Transport": "RTP/SAVP;unicast;client_port=5000-5001"]
    private static func savp(_ data: String) -> RTSPHeaders {
        ["Transport": "RTP/SAVP;unicast;client_port=5000-5001", "KeyMgmt": MIKEYTests.header(data)]
    }

    private static func offers(_ body: [UInt8]) throws -> [RTSPDescription.Keys?] {
        try RTSPDescription(parsing: body).tracks.map(\.keys)
    }
    private static func tracks(_ talk: Talk) -> [RTSPSetUpTrack] {
        switch talk.questions.last {
        case .play(_, _, let tracks), .record(_, let tracks): tracks
        default: []
        }
    }
    private static func remote(_ track: RTSPSetUpTrack) -> [UInt8] {
        track.keys.map { $0.material.remoteKey + $0.material.remoteSalt } ?? []
    }
    private static func local(_ track: RTSPSetUpTrack) -> [UInt8] {
        track.keys.map { $0.material.localKey + $0.material.localSalt } ?? []
    }

    @Test func aPlayerIsToldKeysOfItsOwn() throws {
        var all: [[UInt8]] = []
        let talk = Talk(secure: true)
        for _ in 0..<2 {
            let described = try talk.one(.describe, "rtsp://server/cam?srtp=mikey")
            let text = String(decoding: described.body, as: UTF8.self)
            #expect(text.contains("m=video 0 RTP/SAVP 96") && text.contains("m=audio 0 RTP/SAVP 97"))
            #expect(!text.contains("a=crypto"))
            let told = try Self.offers(described.body).map { try $0?.master.get().bytes ?? [] }

            let first = try talk.one(.setup, "rtsp://server/cam/trackID=0", Self.savp(MIKEYTests.gstreamer))
            #expect(first.status == .ok && first.headers["Transport"]?.hasPrefix("RTP/SAVP;unicast;") == true)
            let answer = try #require(try KeyManagement.parse(header: first.headers["KeyMgmt"] ?? ""))
            let answered = try answer.master().bytes
            // It is for the source that SETUP names.
            #expect(answered == told[0] && answer.sessions.map(\.ssrc) == [0xabc0_0030])
            #expect(first.headers["Transport"]?.contains("ssrc=ABC00030") == true)

            let id = try #require(first.headers["Session"].flatMap { RTSPSessionHeader($0) }).id
            var headers = Self.savp
            headers["Transport"] = "RTP/SAVP;unicast;client_port=5002-5003"
            headers.add("Session", id)
            #expect(try talk.one(.setup, "rtsp://server/cam/trackID=1", headers).status == .ok)
            #expect(try talk.one(.play, "rtsp://server/cam/", ["Session": id]).status == .ok)
            let tracks = Self.tracks(talk)
            #expect(tracks.map(Self.local) == told)
            // Its own key for its reports, or ours where it tells none.
            #expect(tracks.map(Self.remote) == [Array(0..<30), told[1]])
            all += told

            // Keys outlive a pause.
            #expect(try talk.one(.pause, "rtsp://server/cam/", ["Session": id]).status == .ok)
            #expect(try talk.one(.play, "rtsp://server/cam/", ["Session": id]).status == .ok)
            #expect(Self.tracks(talk) == tracks)
            #expect(try talk.one(.teardown, "rtsp://server/cam/", ["Session": id]).status == .ok)
        }
        #expect(Set(all).count == 4, "each session and each track has its own")
    }

    /// Set up again, a track's key goes on to be used where it was left.
    @Test func aTrackThatIsSetUpAgain() throws {
        let talk = Talk(secure: true)
        let first = try talk.one(.setup, "rtsp://server/cam/trackID=0", Self.savp)
        let id = try #require(first.headers["Session"].flatMap { RTSPSessionHeader($0) }).id
        #expect(try talk.one(.play, "rtsp://server/cam/", ["Session": id]).status == .ok)
        let before = try #require(Self.tracks(talk).first?.keys)
        #expect(try talk.one(.pause, "rtsp://server/cam/", ["Session": id]).status == .ok)
        var again = Self.savp(MIKEYTests.gstreamer)
        again.add("Session", id)
        #expect(try talk.one(.setup, "rtsp://server/cam/trackID=0", again).status == .ok)
        #expect(try talk.one(.play, "rtsp://server/cam/", ["Session": id]).status == .ok)
        let after = try #require(Self.tracks(talk).first?.keys)
        #expect(after.ledger === before.ledger && after.material.localKey == before.material.localKey)
        #expect(after.material.remoteKey != before.material.remoteKey)
    }

    @Test func withoutADescriptionTheAnswerTells() throws {
        let talk = Talk(secure: true)
        let answer = try talk.one(.setup, "rtsp://server/cam/trackID=0", Self.savp)
        #expect(answer.status == .ok && answer.headers["KeyMgmt"] != nil)
        // RTSP 2.0 has a place for it (RFC 7826 §18.54).
        let second = Talk(secure: true)
        var headers: RTSPHeaders = [:]
        headers["Transport"] =
            "RTP/SAVP;unicast;dest_addr=\":5000\"/\":5001\";MIKEY=\"\(MIKEYTests.gstreamer)\""
        let told = try second.one(.setup, "rtsp://server/cam/trackID=0", headers, version: .v2)
        #expect(told.status == .ok && told.headers["KeyMgmt"] == nil)
        #expect(RTSPTransport.parse(told.headers["Transport"] ?? "").first?.mikey?.isEmpty == false)
    }

    /// ffmpeg decrypts by `a=crypto`, but asks for RTP/AVP.
    @Test func sdes() throws {
        let talk = Talk(secure: true)
        let described = try talk.one(.describe, "rtsp://server/cam?srtp=sdes")
        let told = try Self.offers(described.body)
        #expect(told.allSatisfy { $0?.isSDES == true })
        #expect(!String(decoding: described.body, as: UTF8.self).contains("key-mgmt"))
        let first = try talk.one(.setup, "rtsp://server/cam/trackID=0", Talk.udp)
        #expect(first.headers["Transport"]?.hasPrefix("RTP/SAVP;") == true && first.headers["KeyMgmt"] == nil)
        let id = try #require(first.headers["Session"].flatMap { RTSPSessionHeader($0) }).id
        #expect(try talk.one(.play, "rtsp://server/cam/", ["Session": id]).status == .ok)
        let master = try #require(told[0]).master.get()
        #expect(Self.tracks(talk).map(Self.local) == [master.bytes])
        // In the connection it would not find what it decrypts.
        let other = Talk(secure: true)
        _ = try other.one(.describe, "rtsp://server/cam?srtp=sdes")
        #expect(try other.one(.setup, "rtsp://server/cam/trackID=0", Talk.tcp).status.code == 461)
    }

    @Test func keysAreForTLSAlone() throws {
        let talk = Talk()
        let refused = try talk.one(.describe, "rtsp://server/cam?srtp=mikey")
        #expect(refused.status.code == 463 && refused.status.reason.contains("rtsps") && refused.body.isEmpty)
        let answer = try talk.one(.setup, "rtsp://server/cam/trackID=0", Self.savp)
        #expect(answer.status.code == 461 && answer.status.reason.contains("rtsps"))
        // One way of several will do.
        let either = try talk.one(
            .setup, "rtsp://server/cam/trackID=0",
            ["Transport": "RTP/SAVP;unicast;client_port=5000-5001,RTP/AVP;unicast;client_port=5000-5001"])
        #expect(either.headers["Transport"]?.hasPrefix("RTP/AVP;") == true)

        var settings = RTSPServerSettings()
        settings.srtpWithoutTLS = true
        let behind = Talk(settings)
        #expect(try behind.one(.describe, "rtsp://server/cam?srtp=mikey").status == .ok)
        #expect(try behind.one(.setup, "rtsp://server/cam/trackID=0", Self.savp).status == .ok)
    }

    @Test func offAndRequired() throws {
        var settings = RTSPServerSettings()
        settings.srtp = .off
        let off = Talk(settings, secure: true)
        #expect(try off.one(.describe, "rtsp://server/cam?srtp=mikey").status.code == 463)
        #expect(try off.one(.setup, "rtsp://server/cam/trackID=0", Self.savp).status.code == 461)
        #expect(try off.one(.setup, "rtsp://server/cam/trackID=0", Talk.udp).status == .ok)

        settings.srtp = .required
        let required = Talk(settings, secure: true)
        let described = try required.one(.describe)
        let offers = try Self.offers(described.body)
        #expect(offers.allSatisfy { $0?.isSDES == false })
        let clear = try required.one(.setup, "rtsp://server/cam/trackID=0", Talk.udp)
        #expect(clear.status.code == 461 && clear.status.reason.contains("RTP/SAVP"))
        #expect(try required.one(.setup, "rtsp://server/cam/trackID=0", Self.savp).status == .ok)
        // Without TLS there is the connection alone.
        let plain = Talk(settings)
        #expect(try Self.offers(plain.one(.describe).body).allSatisfy { $0 == nil })
        #expect(try plain.one(.setup, "rtsp://server/cam/trackID=0", Talk.udp).status.code == 461)
        #expect(try plain.one(.setup, "rtsp://server/cam/trackID=0", Talk.tcp).status == .ok)
    }

    @Test func refusalsSayWhy() throws {
        let talk = Talk(secure: true)
        let interleaved = try talk.one(
            .setup, "rtsp://server/cam/trackID=0", ["Transport": "RTP/SAVP/TCP;unicast;interleaved=0-1"])
        #expect(interleaved.status.code == 461 && interleaved.status.reason.contains("RTP/AVP/TCP"))
        let short = try talk.one(.setup, "rtsp://server/cam/trackID=0", Self.savp(MIKEYTests.shortTag))
        #expect(short.status.code == 463 && short.status.reason.contains("AES_CM_128_HMAC_SHA1_80"))
        let broken = try talk.one(.setup, "rtsp://server/cam/trackID=0", Self.savp("AQAF"))
        #expect(broken.status.code == 463)
        #expect(talk.session.isClosed == false)
    }

    // MARK: Publishers

    private func announce(_ talk: Talk, _ keys: String) throws -> RTSPResponse {
        let body = """
            v=0
            o=- 0 0 IN IP4 127.0.0.1
            s=x
            t=0 0
            m=video 0 RTP/SAVP 96
            a=rtpmap:96 H264/90000
            a=control:streamid=0
            \(keys)

            """
        return try talk.one(.announce, "rtsp://server/live", Talk.sdp, body: body)
    }
    private static let record: RTSPHeaders = [
        "Transport": "RTP/SAVP;unicast;client_port=5000-5001;mode=record"
    ]

    @Test func aPublisherTellsItsKeyInItsDescription() throws {
        let talk = Talk(secure: true)
        #expect(try announce(talk, "a=key-mgmt:mikey \(MIKEYTests.gstreamer)").status == .ok)
        let answer = try talk.one(.setup, "rtsp://server/live/streamid=0", Self.record)
        let id = try #require(answer.headers["Session"].flatMap { RTSPSessionHeader($0) }).id
        let ours = try #require(try KeyManagement.parse(header: answer.headers["KeyMgmt"] ?? "")).master()
        #expect(try talk.one(.record, "rtsp://server/live", ["Session": id]).status == .ok)
        let track = try #require(Self.tracks(talk).first)
        #expect(Self.remote(track) == Array(0..<30) && Self.local(track) == ours.bytes && ours.bytes != Array(0..<30))
    }

    @Test func orBySDESOrNotAtAll() throws {
        let talk = Talk(secure: true)
        #expect(try announce(talk, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:\(SDESTests.key)").status == .ok)
        let answer = try talk.one(.setup, "rtsp://server/live/streamid=0", Self.record)
        #expect(answer.status == .ok && answer.headers["KeyMgmt"] == nil)
        for keys in ["", "a=key-mgmt:mikey AQAF", "a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:\(SDESTests.key)"] {
            let talk = Talk(secure: true)
            #expect(try announce(talk, keys).status == .ok)
            let refused = try talk.one(.setup, "rtsp://server/live/streamid=0", Self.record)
            #expect(refused.status.code == 463, "\(keys): \(refused.status)")
        }
    }
}
