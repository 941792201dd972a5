import HTTPServer
import MediaFiles
import MediaFormats
import Recording
import Tokens
import Wire

extension Configuration {
    /// Recordings of published streams: docs/recording.md.
    package struct Recording: Sendable, Equatable {
        /// When what was written is put onto the disk itself.
        package typealias Sync = RecordingSettings.Sync

        /// false: nothing is recorded, and there is no records folder.
        package var enabled = true
        /// Streams are recorded whose clients ask for it.
        package var onRequest = true
        /// All streams are.
        package var all = false
        /// ... or those of these names.
        package var names: [StreamPattern] = []
        /// Empty: `records` in `state.dir`.
        package var folder = ""
        package var formats = RecordingSettings().formats
        package var audioFormat = RecordingSettings().audioFormat
        package var aac = false
        /// Of files of several streams.
        package var multipleFormat = ContainerFormat.mkv
        package var template = FileNameTemplate.standard
        package var unicodeNames = false
        package var fragment = Muxer.Settings().fragmentDuration
        package var sync = RecordingSettings().sync
        /// Zero: never.
        package var rotation = Interval.zero
        /// Bytes; 0: never.
        package var rotationSize = 0
        package var rotateOnTurn = true
        /// Bytes that the disk keeps.
        package var freeSpace = 512 << 20
        /// Zero: for ever.
        package var keep = Interval.zero
        /// Bytes; 0: no limit.
        package var keepSize = 0
        /// Program to run after each file; empty: none.
        package var hook = ""
        package var hookTimeout = Interval.seconds(60)
        /// Recordings at a time.
        package var max = 200
        /// Threads that write.
        package var writers = 4
        package var download = RecordAccess.link

        package init() {}

        func folderPath(stateDirectory: String) -> String { folder.isEmpty ? "\(stateDirectory)/records" : folder }

        var settings: RecordingSettings {
            var settings = RecordingSettings()
            settings.template = template
            settings.keepsUnicodeNames = unicodeNames
            settings.formats = formats
            settings.audioFormat = audioFormat
            settings.convertsToAAC = aac
            settings.muxer.fragmentDuration = fragment
            settings.sync = sync
            settings.rotationInterval = rotation
            settings.rotationBytes = Int64(rotationSize)
            settings.rotatesOnTurn = rotateOnTurn
            settings.freeSpaceFloor = Int64(freeSpace)
            return settings
        }

        /// Parts of a file of several streams: in its format, and cut only where a part can hold no more.
        var groupSettings: RecordingSettings {
            var group = settings
            group.formats = [:]
            for codec in Codec.allCases where codec.isVideo && multipleFormat.holds(codec) {
                group.formats[codec] = multipleFormat
            }
            group.audioFormat = multipleFormat
            group.rotationInterval = .zero
            group.rotationBytes = 0
            return group
        }

        var retention: RecordingRetention {
            RecordingRetention(maxAge: keep.milliseconds, maxBytes: Int64(keepSize))
        }

        var hookSettings: RecordingHook.Settings? {
            guard !hook.isEmpty else { return nil }
            var settings = RecordingHook.Settings(program: hook)
            settings.timeout = hookTimeout
            return settings
        }

        func wants(_ stream: String) -> Bool { all || names.contains { $0.pattern.matches(stream) } }
    }

    /// A pattern of stream names with its text.
    package struct StreamPattern: Sendable, Equatable {
        package let text: String
        let pattern: NamePattern

        init?(_ text: String) {
            guard let pattern = NamePattern(text) else { return nil }
            self.text = text
            self.pattern = pattern
        }
    }
}
