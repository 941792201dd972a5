import HLS
import HTTPTypes
import Hummingbird
import NIOCore
import NIOPosix

/// Header fields that many answers have, and their text as HTTP/1.1 sends it.
final class HLSFields: Sendable {
    let fields: HTTPFields
    let text: [UInt8]

    init(_ fields: HTTPFields) {
        self.fields = fields
        text = Self.text(fields)
    }

    static func text(_ fields: HTTPFields) -> [UInt8] {
        var text: [UInt8] = []
        for field in fields {
            text += Array(field.name.rawName.utf8) + Array(": ".utf8) + Array(field.value.utf8) + Array("\r\n".utf8)
        }
        return text
    }
}

/// An answer of HLS, whichever way it goes: through the router, or straight to the connection.
struct HLSAnswer: Sendable {
    /// Bytes in memory.
    struct Piece: Sendable {
        let bytes: HLSBytes
        let range: Range<Int>

        /// No bytes are copied.
        var buffer: ByteBuffer {
            let whole = bytes.buffer
            return whole.getSlice(at: whole.readerIndex + range.lowerBound, length: range.count) ?? ByteBuffer()
        }
    }

    enum Body: Sendable {
        case none
        case buffer(ByteBuffer)
        /// In the order in which they are sent.
        case pieces([Piece])
        /// On disk.
        case file(FileBytes, Range<Int>)
    }

    var status: HTTPResponse.Status
    var shared: HLSFields
    /// Beside the shared ones.
    var own = HTTPFields()
    var body = Body.none
    /// The resource's name, if this is its answer to everybody: nothing in the request has changed it.
    var commonName: String?

    var length: Int {
        switch body {
        case .none: 0
        case .buffer(let buffer): buffer.readableBytes
        case .pieces(let pieces): pieces.reduce(0) { $0 + $1.range.count }
        case .file(_, let range): range.count
        }
    }

    /// RFC 9110 §8.6: no `Content-Length` in answers that never have content.
    private var hasLength: Bool { status != .noContent && status != .notModified }

    /// The head as HTTP/1.1 has it, with the empty line at its end.
    func head(date: String) -> ByteBuffer {
        var out = ByteBuffer()
        out.reserveCapacity(shared.text.count + 256)
        out.writeString("HTTP/1.1 ")
        out.writeString(String(status.code))
        out.writeString(" ")
        out.writeString(status.reasonPhrase)
        out.writeString("\r\n")
        out.writeBytes(shared.text)
        for field in own {
            out.writeString(field.name.rawName)
            out.writeString(": ")
            out.writeString(field.value)
            out.writeString("\r\n")
        }
        if hasLength {
            out.writeString("Content-Length: ")
            out.writeString(String(length))
            out.writeString("\r\n")
        }
        out.writeString("Date: ")
        out.writeString(date)
        out.writeString("\r\n\r\n")
        return out
    }

    /// For the router. What is on disk is read by NIO's threads for files.
    func response(isHead: Bool) async throws -> Response {
        var headers = shared.fields
        headers.append(contentsOf: own)
        if isHead {
            if hasLength { headers[.contentLength] = String(length) }
            return Response(status: status, headers: headers)
        }
        return Response(status: status, headers: headers, body: try await responseBody())
    }

    private func responseBody() async throws -> ResponseBody {
        switch body {
        case .none: return ResponseBody()
        case .buffer(let buffer): return ResponseBody(byteBuffer: buffer)
        case .pieces(let pieces):
            if let piece = pieces.first, pieces.count == 1 { return ResponseBody(byteBuffer: piece.buffer) }
            return ResponseBody(contentsOf: pieces.map(\.buffer))
        case .file(let stretch, let range):
            let bytes = try await NIOThreadPool.singleton.runIfActive {
                try stretch.file.read(at: stretch.offset + range.lowerBound, count: range.count)
            }
            return ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
        }
    }
}
