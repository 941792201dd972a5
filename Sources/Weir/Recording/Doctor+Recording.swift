extension Doctor {
    /// The records folder, its disk and the program after recordings.
    mutating func checkRecording() {
        let recording = configuration.recording
        guard recording.enabled else { return }
        let folder = recording.folderPath(stateDirectory: stateDirectory)
        let subject = "records folder \(folder)"
        if let why = machine.cannotWrite(folder) {
            add(
                .error, subject, why,
                "make it writable for the user that runs Weir, give another by recording.folder, or set "
                    + "recording.enabled to false")
        } else if let free = machine.freeSpace(folder), free < recording.freeSpace {
            add(
                .warning, subject,
                "\(sizeText((free >> 20) << 20)) free, recording.free_space leaves \(sizeText(recording.freeSpace)) alone: "
                    + "nothing can be recorded", "make room, or lower recording.free_space")
        } else {
            add(.ok, subject, "writable")
        }
        let asksForLimit = recording.all || !recording.names.isEmpty
        if asksForLimit, recording.keep == .zero, recording.keepSize == 0 {
            add(
                .warning, "recordings",
                "streams are recorded by configuration and nothing deletes them: the disk fills",
                "set recording.keep or recording.keep_size, or see to it by recording.hook")
        }
        if !recording.hook.isEmpty {
            if machine.isProgram(recording.hook) {
                add(.ok, "recording hook \(recording.hook)", "executable")
            } else {
                add(
                    .error, "recording hook \(recording.hook)", "there is no such program that may be run",
                    "mend recording.hook, or chmod +x the file")
            }
        }
    }
}
