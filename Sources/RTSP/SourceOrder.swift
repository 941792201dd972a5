import MediaFormats
import SDP
import Wire

/// What a process that reads a source is told, in the first message to it: a request `DESCRIBE` of the URL, with the rest
/// as lines of its body. It is not in the arguments, which every user of the machine may read.
///
/// The answer is a response: 200 with a session description, after which packets follow as interleaved frames (channel
/// 2·track for RTP, 2·track+1 for RTCP), or a `SourceReport`. Such a report is also the last message of a process.
package struct SourceOrder: Sendable, Equatable {
    /// As `SourceURL` reads it.
    package var url: String
    /// Of `HostGuard`.
    package var hosts: [String] = []
    package var networks: [String] = []
    /// Under which files may be read; empty: none.
    package var folder = ""
    package var verifiesTLS = true
    /// From the beginning to the description.
    package var openingLimit = Interval.seconds(20)
    /// Without media.
    package var mediaLimit = Interval.seconds(10)

    package init(url: String) { self.url = url }

    /// The body has room for 1,000 hosts of the length that names may have.
    package static var limits: RTSPLimits {
        var limits = RTSPLimits()
        limits.body = 1 << 20
        return limits
    }

    package var bytes: [UInt8] {
        let lines =
            hosts.map { "host \($0)" } + networks.map { "network \($0)" } + [
                "folder \(folder)", "tls \(verifiesTLS ? "verify" : "trust")",
                "opening \(openingLimit.milliseconds)", "media \(mediaLimit.milliseconds)",
            ]
        let request = RTSPRequest(.describe, url, body: Array(lines.joined(separator: "\n").utf8))
        return request.bytes
    }

    /// nil: not what a server of this version says.
    package init?(_ message: RTSPMessage) {
        guard case .request(let request) = message, request.method == .describe else { return nil }
        self.init(url: request.uri)
        for line in request.body.split(separator: UInt8(ascii: "\n")) {
            let (name, value) = Substring(decoding: line, as: UTF8.self).halves(at: UInt8(ascii: " "))
            guard let value else { return nil }
            switch name {
            case "host": hosts.append(String(value))
            case "network": networks.append(String(value))
            case "folder": folder = String(value)
            case "tls": verifiesTLS = value == "verify"
            case "opening", "media":
                guard let number: Int32 = value.decimal() else { return nil }
                let limit = Interval.milliseconds(Int64(number))
                if name == "opening" { openingLimit = limit } else { mediaLimit = limit }
            default: return nil
            }
        }
    }

    package var hostGuard: HostGuard {
        var hostGuard = HostGuard()
        hostGuard.hosts = hosts
        hostGuard.allow(networks: networks)
        return hostGuard
    }

    /// The description of what follows.
    package static func answer(_ tracks: [TrackDescription]) -> [UInt8] {
        let text = RTSPDescription.text(name: "-", tracks: tracks, sessionID: 1)
        return RTSPResponse(.ok, headers: ["Content-Type": "application/sdp"], body: Array(text.utf8)).bytes
    }
}

/// Why a process that reads a source ends: the failures that it can know of.
package enum SourceReport {
    private static let label = "Failure"
    private static let detail = "Detail"
    private static let most = 1_000

    /// What a process says.
    package static func bytes(_ failure: RTSPPullFailure) -> [UInt8] {
        let (name, text): (String, String) =
            switch failure {
            case .badURL: ("badURL", "")
            case .refusedHost(let refusal): ("refusedHost", refusal.rawValue)
            case .connect(let text): ("connect", text)
            case .wrongPassword: ("wrongPassword", "")
            case .notFound: ("notFound", "")
            case .badDescription: ("badDescription", "")
            case .noCommonCodecs(let names): ("noCommonCodecs", names.joined(separator: " "))
            case .silent: ("silent", "")
            case .finished: ("finished", "")
            case .tooManyRedirects, .badRedirect, .noResponse, .malformed, .status, .connectionLost, .endedByServer,
                .processEnded, .shutdown:
                ("connectionLost", "")
            }
        let headers: RTSPHeaders = [label: name, detail: String(text.prefix(most))]
        return RTSPResponse(.internalError, headers: headers).bytes
    }

    /// What is understood of it.
    package static func failure(_ response: RTSPResponse) -> RTSPPullFailure {
        let text = response.headers[detail] ?? ""
        switch response.headers[label] {
        case "badURL": return .badURL
        case "refusedHost": return .refusedHost(HostGuard.Refusal(rawValue: text) ?? .address)
        case "connect": return .connect(text)
        case "wrongPassword": return .wrongPassword
        case "notFound": return .notFound
        case "badDescription": return .badDescription
        case "noCommonCodecs": return .noCommonCodecs(text.utf8.split(separator: 0x20).map { String(Substring($0)) })
        case "silent": return .silent
        case "finished": return .finished
        case "connectionLost": return .connectionLost
        default: return .malformed
        }
    }
}
