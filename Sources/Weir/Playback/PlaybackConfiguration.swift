import Wire

extension Configuration {
    /// Files that are played as streams (`vod://`, `vod-live://`): docs/playback.md.
    package struct Playback: Sendable, Equatable {
        /// false: names of files are refused as other URLs are.
        package var enabled = true
        /// Empty: `media` in `state.dir`.
        package var folder = ""
        /// Recordings may be played as `vod://records/NAME`, where whoever knows their names may fetch them.
        package var records = true
        /// `vod-live://` files begin anew at their ends.
        package var loop = false
        /// How long a `vod-live://` stream goes on without players.
        package var linger = Interval.seconds(30)
        /// Files played at a time.
        package var max = 100
        /// Threads that read.
        package var readers = 4
        /// Files at a time whose pictures are transcoded; 0: none.
        package var transcodings = 2

        package init() {}

        func folderPath(stateDirectory: String) -> String { folder.isEmpty ? "\(stateDirectory)/media" : folder }

        /// Where recordings are, if they may be played. They are no better kept from players than from browsers.
        func recordsFolder(_ recording: Recording, stateDirectory: String) -> String? {
            guard records, recording.enabled, recording.download == .link else { return nil }
            return recording.folderPath(stateDirectory: stateDirectory)
        }
    }
}

extension Configuration {
    /// Whether recordings can be played as streams.
    package var playsRecordings: Bool { vod.recordsFolder(recording, stateDirectory: "") != nil }
}

extension ConfigurationKey {
    static let vod: [ConfigurationKey] = [
        .init("vod", "enabled", \.vod.enabled, .flag),
        .init("vod", "folder", \.vod.folder, .path),
        .init("vod", "records", \.vod.records, .flag),
        .init("vod", "loop", \.vod.loop, .flag),
        .init("vod", "linger", \.vod.linger, .duration(.zero ... .seconds(86_400))),
        .init("vod", "max", \.vod.max, .integer(1...10_000)),
        .init("vod", "readers", \.vod.readers, .integer(1...64)),
        .init("vod", "transcodings", \.vod.transcodings, .integer(0...64)),
    ]
}

extension Doctor {
    /// The folder of files that are played.
    mutating func checkPlayback() {
        let vod = configuration.vod
        guard vod.enabled else { return }
        let folder = vod.folderPath(stateDirectory: stateDirectory)
        let subject = "media folder \(folder)"
        if vod.folder.isEmpty {
            // The server makes it.
            guard let why = machine.cannotWrite(folder) else { return add(.ok, subject, "made at the start") }
            add(.error, subject, why, "make it readable for the user that runs Weir, or give another by vod.folder")
        } else if let why = machine.cannotRead(folder) {
            add(
                .warning, subject, "\(why): vod:// names end with File not found or Failed to read file",
                "make the folder and let the user that runs Weir read it, mend vod.folder, or set vod.enabled to false")
        } else {
            add(.ok, subject, "readable")
        }
    }
}
