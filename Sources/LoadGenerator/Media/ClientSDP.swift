import DTLS
import ICE
import SDP
import Wire

/// Offers of the load's clients, and what they read of the answers: as a browser, one bundle, rtcp-mux, RTX.
enum ClientSDP {
    enum PayloadType {
        static let video: UInt8 = 102
        static let rtx: UInt8 = 103
        static let audio: UInt8 = 111
    }

    struct Sources: Sendable {
        var video: UInt32
        var rtx: UInt32
        var audio: UInt32
    }

    /// - Parameter sources: of a publisher; nil: the client plays.
    static func offer(
        plan: MediaPlan, credentials: ICECredentials, fingerprint: String, sources: Sources?
    ) -> String {
        var lines = [
            "v=0", "o=- \(credentials.ufrag.utf8.reduce(UInt64(7)) { $0 &* 31 &+ UInt64($1) } >> 2) 2 IN IP4 127.0.0.1",
        ]
        lines += ["s=-", "t=0 0"]
        let kinds = (plan.audio == nil ? [] : ["audio"]) + (plan.video == nil ? [] : ["video"])
        lines.append("a=group:BUNDLE \(kinds.indices.map(String.init).joined(separator: " "))")
        lines.append("a=msid-semantic: WMS")
        for (mid, kind) in kinds.enumerated() {
            let clip = kind == "audio" ? plan.audio : plan.video
            let isVideo = kind == "video"
            let formats = isVideo ? "\(PayloadType.video) \(PayloadType.rtx)" : "\(PayloadType.audio)"
            lines.append("m=\(kind) 9 UDP/TLS/RTP/SAVPF \(formats)")
            lines += ["c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0"]
            lines += ["a=ice-ufrag:\(credentials.ufrag)", "a=ice-pwd:\(credentials.password)"]
            lines += ["a=ice-options:trickle", "a=fingerprint:sha-256 \(fingerprint)", "a=setup:actpass"]
            lines += ["a=mid:\(mid)", sources == nil ? "a=recvonly" : "a=sendonly", "a=rtcp-mux", "a=rtcp-rsize"]
            if isVideo {
                let name = clip?.codec.name ?? ""
                lines.append("a=rtpmap:\(PayloadType.video) \(name)/90000")
                lines += ["nack", "nack pli", "ccm fir"].map { "a=rtcp-fb:\(PayloadType.video) \($0)" }
                if let clip, !clip.formatParameters.isEmpty {
                    lines.append("a=fmtp:\(PayloadType.video) \(clip.formatParameters)")
                }
                lines += [
                    "a=rtpmap:\(PayloadType.rtx) rtx/90000", "a=fmtp:\(PayloadType.rtx) apt=\(PayloadType.video)",
                ]
            } else {
                lines += [
                    "a=rtpmap:\(PayloadType.audio) opus/48000/2",
                    "a=fmtp:\(PayloadType.audio) minptime=10;useinbandfec=1",
                ]
            }
            guard let sources else { continue }
            lines.append("a=msid:load \(kind)")
            if isVideo { lines.append("a=ssrc-group:FID \(sources.video) \(sources.rtx)") }
            for ssrc in isVideo ? [sources.video, sources.rtx] : [sources.audio] {
                lines += ["a=ssrc:\(ssrc) cname:load", "a=ssrc:\(ssrc) msid:load \(kind)"]
            }
        }
        return lines.joined(separator: "\r\n") + "\r\n"
    }

    /// Where the server is and how to speak to it.
    struct Answer: Sendable {
        var remote: SocketAddress
        var credentials: ICECredentials
        var fingerprints: [DTLSFingerprint]
        /// The server is the DTLS client.
        var isServerActive: Bool
        /// Payload types that the server will use; 0: the track was refused.
        var video: UInt8 = 0
        var rtx: UInt8 = 0
        var audio: UInt8 = 0
    }

    static func read(answer text: String) throws(LoadError) -> Answer {
        let session: SessionDescription
        do { session = try SessionDescription.parse(text) } catch { throw .badAnswer("\(error)") }
        let sections = session.media.filter { $0.port != 0 }
        guard let first = sections.first else { throw .badAnswer("no m-line was accepted") }
        func value(_ name: String) -> String? {
            (first.attributes + session.attributes).first { $0.name == name }?.value
        }
        guard let ufrag = value("ice-ufrag"), let password = value("ice-pwd") else {
            throw .badAnswer("no ICE credentials")
        }
        let fingerprints = (first.attributes + session.attributes).filter { $0.name == "fingerprint" }.compactMap {
            attribute -> DTLSFingerprint? in
            let parts = (attribute.value ?? "").split(separator: " ")
            guard parts.count == 2 else { return nil }
            return DTLSFingerprint(algorithm: parts[0].lowercased(), hex: String(parts[1]))
        }
        guard !fingerprints.isEmpty else { throw .badAnswer("no fingerprint that can be checked") }
        let candidates = sections.flatMap(\.attributes) + session.attributes
        guard let remote = candidates.lazy.filter({ $0.name == "candidate" }).compactMap(candidate).first else {
            throw .noCandidate
        }
        var answer = Answer(
            remote: remote, credentials: ICECredentials(ufrag: ufrag, password: password), fingerprints: fingerprints,
            isServerActive: value("setup") == "active")
        for section in sections {
            for map in section.attributes where map.name == "rtpmap" {
                let parts = (map.value ?? "").split(separator: " ")
                guard parts.count == 2, let type = UInt8(parts[0]) else { continue }
                switch (section.media, parts[1].lowercased().hasPrefix("rtx/")) {
                case ("video", true): if answer.rtx == 0 { answer.rtx = type }
                case ("video", false): if answer.video == 0 { answer.video = type }
                case ("audio", _): if answer.audio == 0 { answer.audio = type }
                default: break
                }
            }
        }
        return answer
    }

    private static func candidate(_ attribute: SDPAttribute) -> SocketAddress? {
        let fields = (attribute.value ?? "").split(separator: " ")
        guard fields.count >= 8, fields[1] == "1", fields[2].lowercased() == "udp", let port = UInt16(fields[5])
        else { return nil }
        return SocketAddress(ip: String(fields[4]), port: port)
    }
}
