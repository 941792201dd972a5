/// A path of the HLS side, for example `/cam/cam.m3u8`, `/cam/main/live.m3u8`, `/cam/main/17.3-5fq0z8c1.m4s`.
///
/// A stream may be named by a URL (a camera's), whose slashes are encoded: `/rtsp%3A%2F%2Fhost%2Flive/…`. No name is ever
/// that of a file.
///
/// Names of segments and parts carry a token, chosen at random for each segment, so that nobody can guess one that he
/// has not been told of by a playlist.
package struct HLSPath: Sendable, Hashable {
    package enum Resource: Sendable, Hashable {
        /// `NAME/NAME.m3u8` (or `NAME/index.m3u8`, as older servers have it): the multivariant playlist.
        case multivariant
        /// `NAME/RENDITION/live.m3u8`
        case playlist(rendition: String)
        /// `NAME/RENDITION/init-NUMBER-TOKEN.mp4`: an initialisation section.
        case map(rendition: String, number: UInt64, token: String)
        /// `NAME/RENDITION/MSN-TOKEN.m4s`, `.ts` for MPEG-TS.
        case segment(rendition: String, sequenceNumber: UInt64, token: String)
        /// `NAME/RENDITION/MSN.PART-TOKEN.m4s`, `.ts` for MPEG-TS.
        case part(rendition: String, sequenceNumber: UInt64, part: UInt64, token: String)
    }

    /// Bytes of a path: a name of 255 bytes, each percent-encoded, twice, and a resource's name.
    package static let maxBytes = 2_048
    /// As of any stream's name: decoded, in UTF-8.
    package static let maxNameBytes = 255
    package static let maxRenditionBytes = 32
    package static let maxTokenBytes = 32

    /// The stream's name, decoded.
    package var stream: String
    package var resource: Resource

    package init(stream: String, resource: Resource) {
        self.stream = stream
        self.resource = resource
    }

    /// - Parameter path: as in the request, with its leading slash, percent-encoded, without the query.
    /// - Returns: nil for whatever we do not serve: other paths, `..`, encoded slashes in what is no URL, bytes that are no
    ///   UTF-8.
    package init?(_ path: some StringProtocol) { self.init(bytes: Array(path.utf8)) }

    /// As above, in UTF-8.
    package init?(bytes: [UInt8]) {
        guard bytes.count <= Self.maxBytes, bytes.first == UInt8(ascii: "/") else { return nil }
        var components: [String] = []
        var start = 1
        while start <= bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "/")) ?? bytes.count
            // A URL as a name, and as the name of its playlist.
            let mayHaveSlashes = components.first.map { components.count == 1 && Self.isURL($0) } ?? true
            guard components.count < 3, let text = Self.decode(bytes[start..<end], slashes: mayHaveSlashes) else {
                return nil
            }
            components.append(text)
            start = end + 1
        }
        guard components.count >= 2, Self.isName(components[0]) else { return nil }
        stream = components[0]
        if components.count == 2 {
            guard components[1] == "\(stream).m3u8" || components[1] == "index.m3u8" else { return nil }
            resource = .multivariant
        } else {
            let rendition = components[1]
            guard Self.isRendition(rendition),
                let found = Self.resource(rendition: rendition, file: Array(components[2].utf8))
            else { return nil }
            resource = found
        }
    }

    private static func resource(rendition: String, file: [UInt8]) -> Resource? {
        if file.elementsEqual("live.m3u8".utf8) { return .playlist(rendition: rendition) }
        guard let dot = file.lastIndex(of: UInt8(ascii: ".")), let dash = file[..<dot].lastIndex(of: UInt8(ascii: "-"))
        else { return nil }
        let token = file[(dash + 1)..<dot]
        let ending = file[(dot + 1)...]
        guard !token.isEmpty, token.count <= maxTokenBytes, token.allSatisfy(isTokenByte) else { return nil }
        let tokenText = String(decoding: token, as: UTF8.self)
        let name = file[..<dash]
        if ending.elementsEqual("mp4".utf8) {
            let prefix = Array("init-".utf8)
            guard name.starts(with: prefix),
                let number = DeliveryDirectives.decimalInteger(name.dropFirst(prefix.count))
            else { return nil }
            return .map(rendition: rendition, number: number, token: tokenText)
        }
        guard ending.elementsEqual("m4s".utf8) || ending.elementsEqual("ts".utf8) else { return nil }
        let numbers = name.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard let first = numbers.first, let sequenceNumber = DeliveryDirectives.decimalInteger(first) else {
            return nil
        }
        switch numbers.count {
        case 1: return .segment(rendition: rendition, sequenceNumber: sequenceNumber, token: tokenText)
        case 2:
            guard let part = DeliveryDirectives.decimalInteger(numbers[1]) else { return nil }
            return .part(rendition: rendition, sequenceNumber: sequenceNumber, part: part, token: tokenText)
        default: return nil
        }
    }

    /// The stream is named by a URL.
    package var isOfURL: Bool { Self.isURL(stream) }

    /// Percent-decoding (RFC 3986 §2.1). Nil for a broken escape, a backslash or a NUL that hides in one, or bytes that are
    /// no UTF-8.
    ///
    /// - Parameter slashes: whether a slash may hide in an escape.
    static func decode(_ component: ArraySlice<UInt8>, slashes: Bool) -> String? {
        guard component.contains(UInt8(ascii: "%")) else { return String(validating: component, as: UTF8.self) }
        var out: [UInt8] = []
        var iterator = component.makeIterator()
        while let byte = iterator.next() {
            guard byte == UInt8(ascii: "%") else {
                out.append(byte)
                continue
            }
            guard let high = iterator.next().flatMap(hexDigit), let low = iterator.next().flatMap(hexDigit) else {
                return nil
            }
            let value = high << 4 | low
            guard slashes || value != UInt8(ascii: "/"), value != UInt8(ascii: "\\"), value != 0 else { return nil }
            out.append(value)
        }
        return String(validating: out, as: UTF8.self)
    }

    /// A component of a URI: everything but unreserved characters is encoded, so the text may stand in quotes too.
    package static func encode(_ component: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var out: [UInt8] = []
        for byte in component.utf8 {
            if isUnreserved(byte) {
                out.append(byte)
            } else {
                out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"): true
        default: false
        }
    }

    private static func isName(_ text: String) -> Bool {
        (1...maxNameBytes).contains(text.utf8.count) && text != "." && text != ".."
            && text.unicodeScalars.allSatisfy { $0.value >= 0x20 }
            && (!text.utf8.contains(UInt8(ascii: "/")) || isURL(text))
    }

    /// `scheme://…` (RFC 3986 §3.1)
    static func isURL(_ text: String) -> Bool {
        let scheme = text.utf8.prefix { $0 != UInt8(ascii: ":") }
        guard let first = scheme.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first | 0x20) else {
            return false
        }
        return scheme.allSatisfy { isUnreserved($0) || $0 == UInt8(ascii: "+") }
            && text.utf8.dropFirst(scheme.count).starts(with: "://".utf8)
    }

    package static func isRendition(_ text: String) -> Bool {
        (1...maxRenditionBytes).contains(text.utf8.count)
            && text.utf8.allSatisfy { isTokenByte($0) || $0 == UInt8(ascii: "-") }
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x61...0x7a: true
        default: false
        }
    }
}

extension HLSPath.Resource {
    /// Nil: of all.
    package var rendition: String? {
        switch self {
        case .multivariant: nil
        case .playlist(let rendition), .map(let rendition, _, _), .segment(let rendition, _, _),
            .part(let rendition, _, _, _):
            rendition
        }
    }

    /// The last component of the URI, as playlists of the rendition name it. `isTS`: segments of MPEG-TS.
    package func fileName(isTS: Bool = false) -> String {
        let ending = isTS ? "ts" : "m4s"
        return switch self {
        case .multivariant: "index.m3u8"
        case .playlist: "live.m3u8"
        case .map(_, let number, let token): "init-\(number)-\(token).mp4"
        case .segment(_, let number, let token): "\(number)-\(token).\(ending)"
        case .part(_, let number, let part, let token): "\(number).\(part)-\(token).\(ending)"
        }
    }
}
