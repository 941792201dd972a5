import MediaFiles
import Playback
import RTSP
import Wire

/// How each kind of source is opened.
enum SourceOpening {
    /// - Parameter isCancelled: asked from within; true ends it with `.cancelled`.
    static func open(
        _ url: SourceURL, _ order: SourceOrder, isCancelled: @escaping () -> Bool
    ) throws(ContainerError) -> Demuxer {
        if url.scheme == .file { return try openFile(url, order, isCancelled) }
        var options = NetworkOptions(protocols: protocols(url.scheme))
        options.verifiesTLS = order.verifiesTLS
        options.format = url.scheme == .udp ? "mpegts" : nil
        return try Demuxer(url: url.text, options: options, isCancelled: isCancelled)
    }

    /// What the source may lead to, and what that is made of. Never files, nor ways to write them into a URL.
    private static func protocols(_ scheme: SourceURL.Scheme) -> [String] {
        switch scheme {
        case .http, .https: ["http", "https", "tcp", "tls", "crypto"]
        case .rtmp: ["rtmp", "tcp"]
        case .rtmps: ["rtmps", "tls", "tcp"]
        case .srt: ["srt"]
        case .udp: ["udp"]
        case .file: []
        }
    }

    private static func openFile(
        _ url: SourceURL, _ order: SourceOrder, _ isCancelled: @escaping () -> Bool
    ) throws(ContainerError) -> Demuxer {
        guard let components = url.components(below: order.folder) else { throw .notFound }
        let descriptor = try MediaFolder(path: order.folder).open(components)
        return try Demuxer(descriptor: descriptor, isCancelled: isCancelled)
    }

    /// Why a source could not be opened.
    static func failure(_ error: ContainerError) -> RTSPPullFailure {
        if let refusal = ConnectionGuard.refusal { return .refusedHost(refusal) }
        switch error {
        case .cancelled: return .connect("no media that can be described in time")
        case .notFound: return .notFound
        case .wrongFormat, .unsupported, .missingParameters: return .badDescription
        case .unknownCodecs(let names): return .noCommonCodecs(names)
        case .system, .library: break
        }
        switch error.httpStatus {
        case 401, 403: return .wrongPassword
        case 404: return .notFound
        case let status?: return .connect("the server answered with a status of \(status / 100)xx")
        case nil: return .connect("\(error)")
        }
    }
}
