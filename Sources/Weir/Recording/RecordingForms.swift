import HTTPServer
import MediaFiles
import MediaFormats
import Recording
import Wire

extension ConfigurationKey {
    static let recording: [ConfigurationKey] = [
        .init("recording", "enabled", \.recording.enabled, .flag),
        .init("recording", "on_request", \.recording.onRequest, .flag),
        .init("recording", "all", \.recording.all, .flag),
        .init("recording", "names", \.recording.names, .list(.streamPattern, 0...1_000)),
        .init("recording", "folder", \.recording.folder, .path),
        .init("recording", "formats", \.recording.formats, .recordFormats),
        .init(
            "recording", "audio_format", \.recording.audioFormat,
            .word(ContainerFormat.allCases.filter { $0.holds(.opus) }.map { ($0.rawValue, $0) }, name: { $0.rawValue })
        ),
        .init("recording", "aac", \.recording.aac, .flag),
        .init(
            "recording", "multiple_format", \.recording.multipleFormat,
            .word([("mkv", .mkv), ("mp4", .mp4)], name: { $0.rawValue })),
        .init("recording", "template", \.recording.template, .fileNameTemplate),
        .init("recording", "unicode_names", \.recording.unicodeNames, .flag),
        .init("recording", "fragment", \.recording.fragment, .duration(.milliseconds(100) ... .seconds(1))),
        .init("recording", "sync", \.recording.sync, .recordSync),
        .init("recording", "rotation", \.recording.rotation, .duration(.zero ... .seconds(7 * 86_400))),
        .init("recording", "rotation_size", \.recording.rotationSize, .size(0...1 << 44)),
        .init("recording", "rotate_on_turn", \.recording.rotateOnTurn, .flag),
        .init("recording", "free_space", \.recording.freeSpace, .size(0...1 << 44)),
        .init("recording", "keep", \.recording.keep, .duration(.zero ... .seconds(3_650 * 86_400))),
        .init("recording", "keep_size", \.recording.keepSize, .size(0...1 << 50)),
        .init("recording", "hook", \.recording.hook, .program),
        .init("recording", "hook_timeout", \.recording.hookTimeout, .duration(.seconds(1) ... .seconds(86_400))),
        .init("recording", "max", \.recording.max, .integer(1...10_000)),
        .init("recording", "writers", \.recording.writers, .integer(1...64)),
        .init(
            "recording", "download", \.recording.download,
            .word(RecordAccess.allCases.map { ($0.rawValue, $0) }, name: { $0.rawValue })),
    ]
}

extension ValueForm where Value == Configuration.StreamPattern {
    /// A name of streams, `*` standing for any part of it.
    static var streamPattern: Self {
        let remedy = "give a name of streams, in which one * may stand for any text, such as room-*"
        return Self(
            read: { value throws(BadValue) in
                guard let pattern = Configuration.StreamPattern(try value.scalarText(remedy)) else {
                    throw BadValue("is not a pattern", remedy: remedy)
                }
                return pattern
            }, write: { "\"\($0.text)\"" })
    }
}

extension ValueForm where Value == [Codec: ContainerFormat] {
    /// WCS's form: `h264-mp4,vp8-webm`.
    static var recordFormats: Self {
        let remedy =
            "give pairs such as h264-mp4,vp8-webm: of \(Codec.allCases.filter(\.isVideo).map(\.rawValue).joined(separator: ", ")) "
            + "and a container that takes it (mp4: all but vp8; webm: vp8, vp9, av1; mkv: all; ts: h264, h265)"
        return Self(
            read: { value throws(BadValue) in
                var text = ""
                if case .list(let items, _) = value {
                    for item in items { text += (text.isEmpty ? "" : ",") + (try item.scalarText(remedy)) }
                } else {
                    text = try value.scalarText(remedy)
                }
                guard let formats = RecordingSettings.formats(parsing: text), !formats.isEmpty else {
                    throw BadValue("is not a mapping of codecs to containers", remedy: remedy)
                }
                return formats
            },
            write: { formats in
                Codec.allCases.compactMap { codec in formats[codec].map { "\(codec.rawValue)-\($0.rawValue)" } }
                    .joined(separator: ",")
            })
    }
}

extension ValueForm where Value == FileNameTemplate {
    static var fileNameTemplate: Self {
        let remedy =
            "give text with the elements {streamName}, {mediaSessionId}, {login}, {sessionId}, {startTime}, {endTime}, "
            + "{startTimeMillis}, {endTimeMillis}, {duration}, {durationMillis}, {audioCodec}, {videoCodec}"
        return Self(
            read: { value throws(BadValue) in
                var text = try value.scalarText(remedy)
                // The environment has no other way to say that braces in front are no YAML.
                if text.utf8.count >= 2, text.hasPrefix("\""), text.hasSuffix("\"") {
                    text = String(text.dropFirst().dropLast())
                }
                guard let template = FileNameTemplate(text) else {
                    throw BadValue("is not a template of names", remedy: remedy)
                }
                return template
            }, write: { "\"\($0.text)\"" })
    }
}

extension ValueForm where Value == RecordingSettings.Sync {
    /// `never`, `fragment`, or how often.
    static var recordSync: Self {
        let duration = ValueForm<Interval>.duration(.milliseconds(100) ... .seconds(3_600))
        let remedy = "give never, fragment, or a time from 100ms to 1h with its unit"
        return Self(
            read: { value throws(BadValue) in
                switch try value.scalarText(remedy).lowercased() {
                case "never": return .never
                case "fragment": return .everyFragment
                default:
                    do throws(BadValue) { return .interval(try duration.read(value)) } catch {
                        throw BadValue(error.problem, remedy: remedy)
                    }
                }
            },
            write: { sync in
                switch sync {
                case .never: "never"
                case .everyFragment: "fragment"
                case .interval(let interval): durationText(interval)
                }
            })
    }
}

extension ValueForm where Value == String {
    /// An absolute path, or empty for none: nothing is looked for in PATH.
    static var program: Self {
        let remedy = "give the absolute path of a program, or \"\" for none"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                guard text.isEmpty || (text.hasPrefix("/") && !text.utf8.contains(0)) else {
                    throw BadValue("is not an absolute path", remedy: remedy)
                }
                return text
            }, write: { $0.isEmpty ? "\"\"" : $0 })
    }
}
