import Foundation
import Wire

/// Names of recordings, made of WCS's elements.
///
/// | element | value |
/// | --- | --- |
/// | `{streamName}` `{mediaSessionId}` `{login}` | of the stream |
/// | `{sessionId}` | of the client's connection, base64 for URLs |
/// | `{startTime}` `{endTime}` | seconds since 1970 |
/// | `{startTimeMillis}` `{endTimeMillis}` | milliseconds since 1970 |
/// | `{duration}` `{durationMillis}` | whole seconds, milliseconds |
/// | `{audioCodec}` `{videoCodec}` | as `opus`, `h264`; `none` without |
///
/// Whatever the values are, a name is one path component of at most 255 bytes, and within that of characters that mean
/// nothing to shells and URLs.
package struct FileNameTemplate: Sendable, Equatable {
    /// What a name is made of.
    package struct Values: Sendable {
        package var identity: RecordingIdentity
        package var start: WallMillis
        package var end: WallMillis
        package var duration: Interval
        package var audioCodec: String?
        package var videoCodec: String?

        package init(
            identity: RecordingIdentity, start: WallMillis, end: WallMillis, duration: Interval, audioCodec: String?,
            videoCodec: String?
        ) {
            self.identity = identity
            self.start = start
            self.end = end
            self.duration = duration
            self.audioCodec = audioCodec
            self.videoCodec = videoCodec
        }
    }

    /// WCS's default.
    package static let standard = FileNameTemplate(unchecked: "stream-{mediaSessionId}-{login}")
    /// Policy `streamName` of WCS.
    package static let streamName = FileNameTemplate(unchecked: "{streamName}")

    /// Longest name that Linux file systems take, in bytes.
    package static let longestName = 255
    private static let elements: Set<String> = [
        "streamName", "mediaSessionId", "login", "sessionId", "startTime", "endTime", "startTimeMillis",
        "endTimeMillis", "duration", "durationMillis", "audioCodec", "videoCodec",
    ]
    /// Known only when a file ends.
    private static let late: Set<String> = ["endTime", "endTimeMillis", "duration", "durationMillis"]

    package let text: String

    private init(unchecked text: String) { self.text = text }

    /// Nil: an unknown element, a brace without its partner, or an empty template.
    package init?(_ text: String) {
        guard !text.isEmpty else { return nil }
        var isSound = true
        Self.walk(text, literal: { part in if part.contains(where: { $0 == "{" || $0 == "}" }) { isSound = false } }) {
            if !Self.elements.contains($0) { isSound = false }
        }
        guard isSound else { return nil }
        self.text = text
    }

    /// Whether the name is complete when a recording starts.
    package var isKnownAtStart: Bool {
        var known = true
        Self.walk(text, literal: { _ in }) { if Self.late.contains($0) { known = false } }
        return known
    }

    /// A name without extension, number or limit of length; safe in every other respect.
    ///
    /// - Parameter keepsUnicode: letters of all scripts stay as they are; otherwise they are encoded, too.
    package func base(_ values: Values, keepsUnicode: Bool = false) -> String {
        if let asked = values.identity.fileName { return Self.safe(asked, keepsUnicode: keepsUnicode) }
        var name = ""
        Self.walk(text, literal: { name += $0 }) { element in
            let identity = values.identity
            let value =
                switch element {
                case "streamName": identity.streamName
                case "mediaSessionId": identity.mediaSessionID
                case "login": identity.login
                case "sessionId": Self.base64URL(identity.sessionID)
                case "startTime": String(values.start / 1_000)
                case "endTime": String(values.end / 1_000)
                case "startTimeMillis": String(values.start)
                case "endTimeMillis": String(values.end)
                case "duration": String(values.duration.milliseconds / 1_000)
                case "durationMillis": String(values.duration.milliseconds)
                case "audioCodec": values.audioCodec ?? "none"
                default: values.videoCodec ?? "none"
                }
            name += value
        }
        return Self.safe(name, keepsUnicode: keepsUnicode)
    }

    /// Splits into literal text and names within braces.
    private static func walk(_ text: String, literal: (String) -> Void, element: (String) -> Void) {
        var rest = Substring(text)
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            literal(String(rest[..<open]))
            element(String(rest[rest.index(after: open)..<close]))
            rest = rest[rest.index(after: close)...]
        }
        literal(String(rest))
    }

    private static func base64URL(_ text: String) -> String {
        Data(text.utf8).base64EncodedString().replacingOccurrences(of: "+", with: "-")
            .replacingOccurrences(of: "/", with: "_").replacingOccurrences(of: "=", with: "")
    }

    // MARK: Safe names

    /// Encodes what is not safe as `~` and two hexadecimal digits per byte of UTF-8.
    ///
    /// Not `%`: pages put `recordName` into a URL as it is, where a server would decode it to what it stood for.
    static func safe(_ name: String, keepsUnicode: Bool) -> String {
        var result = ""
        for (index, scalar) in name.unicodeScalars.enumerated() {
            let isSafe =
                switch scalar {
                case "a"..."z", "A"..."Z", "0"..."9", "_": true
                // A leading dot hides the file, and two make the parent; `rm *` would take a leading hyphen for an option.
                case ".", "-": index > 0
                default: keepsUnicode && !scalar.isASCII && scalar.properties.isLetterOrNumber
                }
            if isSafe {
                result.unicodeScalars.append(scalar)
            } else {
                for byte in String(scalar).utf8 {
                    result += "~" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
                }
            }
        }
        return result.isEmpty ? "recording" : result
    }

    /// One path component of at most 255 bytes: the base is cut, never the number or the extension.
    package static func fileName(base: String, number: String = "", fileExtension: String) -> String {
        let tail = number + "." + fileExtension
        return shortened(base, to: longestName - tail.utf8.count) + tail
    }

    /// Cut at a border of characters and of encoded bytes.
    private static func shortened(_ base: String, to limit: Int) -> String {
        guard base.utf8.count > limit else { return base }
        var result = ""
        var length = 0
        for scalar in base.unicodeScalars {
            let size = String(scalar).utf8.count
            // An encoded byte has three characters; none of it may be left alone.
            guard length + (scalar == "~" ? 3 : size) <= limit else { break }
            result.unicodeScalars.append(scalar)
            length += size
        }
        return result
    }
}

extension Unicode.Scalar.Properties {
    fileprivate var isLetterOrNumber: Bool {
        switch generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber,
            .letterNumber, .nonspacingMark, .spacingMark:
            true
        default: false
        }
    }
}
