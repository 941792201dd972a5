import Foundation
import HTTPTypes
import Hummingbird
import Logging

/// The page. All files are read at start and each gets a route of its own: no request can name another path.
struct StaticFiles: Sendable {
    /// The page is some ten small files; a larger directory is a mistake in packaging.
    private static let maxFiles = 500
    private static let maxBytes = 16 * 1024 * 1024

    /// The page talks to WebSocket and HTTP on other ports of this host, and plays `blob:` media.
    private static let contentSecurityPolicy =
        "default-src 'self'; connect-src 'self' http: https: ws: wss:; img-src 'self' data: blob:; "
        + "media-src 'self' blob: mediastream:; style-src 'self' 'unsafe-inline'; base-uri 'none'; "
        + "frame-ancestors 'self'"

    private static let types = [
        "html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8",
        "mjs": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "json": "application/json",
        "svg": "image/svg+xml", "png": "image/png", "ico": "image/x-icon", "webp": "image/webp",
        "txt": "text/plain; charset=utf-8", "webmanifest": "application/manifest+json", "woff2": "font/woff2",
    ]

    private struct File: Sendable {
        var type: String
        var tag: String
        var body: ByteBuffer
    }

    /// By path, for example `/app.js`.
    private let files: [String: File]

    /// Where the page lies: in the resources that SwiftPM puts beside the executable, or where a package installs it.
    /// `Bundle.module` would end the process when they are missing, and a server without a page is still of use.
    static func defaultDirectory() -> URL {
        let beside = Bundle.main.bundleURL
        let candidates = [
            beside.appendingPathComponent("weir_HTTPServer.resources/Web"),
            beside.appendingPathComponent("../share/weir/Web"),
        ]
        return candidates.first { FileManager.default.fileExists(atPath: $0.path) } ?? candidates[0]
    }

    /// A missing directory is logged and gives no files: the server can do its work without a page.
    init(directory: URL, logger: Logger) {
        var files: [String: File] = [:]
        var total = 0
        let root = directory.standardizedFileURL.path
        let found = FileManager.default.enumerator(atPath: root)
        while let path = found?.nextObject() as? String, files.count < Self.maxFiles {
            let hidden = path.split(separator: "/").contains { $0.hasPrefix(".") }
            guard !hidden, let type = Self.types[(path as NSString).pathExtension.lowercased()],
                let data = FileManager.default.contents(atPath: "\(root)/\(path)")
            else { continue }
            total += data.count
            guard total <= Self.maxBytes else { break }
            files["/\(path)"] = File(type: type, tag: Self.tag(data), body: ByteBuffer(bytes: data))
        }
        if let index = files["/index.html"] { files["/"] = index }
        self.files = files
        if files["/"] == nil {
            logger.warning("the page is missing", metadata: ["directory": "\(root)"])
        }
    }

    func add(to router: Router<HTTPContext>) {
        for (path, file) in files {
            router.serve(
                RouterPath(path),
                [
                    .get: { request, _ in Self.respond(file, to: request) },
                    .head: { request, _ in Self.respond(file, to: request).createHeadResponse() },
                ])
        }
    }

    private static func respond(_ file: File, to request: Request) -> Response {
        var headers: HTTPFields = [.contentType: file.type, .eTag: file.tag, .cacheControl: "no-cache"]
        headers[.xContentTypeOptions] = "nosniff"
        headers[.referrerPolicy] = "no-referrer"
        headers[.contentSecurityPolicy] = contentSecurityPolicy
        if let condition = request.headers[.ifNoneMatch].flatMap(EntityTag.parse),
            EntityTag.matchesWeakly(condition, file.tag)
        {
            headers[.contentType] = nil
            return Response(status: .notModified, headers: headers)
        }
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: file.body))
    }

    /// FNV-1a of the content: tells versions of a file apart, no more is needed.
    private static func tag(_ data: Data) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in data { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return "\"\(String(hash, radix: 16))-\(data.count)\""
    }
}
