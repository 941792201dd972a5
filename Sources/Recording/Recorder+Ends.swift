import MediaFiles
import MediaFormats
import Wire

/// How files end: as they should, in a group, or after an error.
extension Recorder {
    func endClosing() {
        guard let last = closing else { return }
        closing = nil
        end(last.part, isLast: false)
    }

    /// Closes a file and hands it to the finaliser.
    func end(_ part: RecordingPart, isLast: Bool) {
        guard part.hasMedia else { return part.discard() }
        if let group, group.reserve() { return end(part, in: group) }
        let name = reserveName(part, isLast: isLast)
        names.append(name)
        // Told before the finaliser can tell that the file is complete.
        observer.recordingFileEnded(identity, name: name)
        do {
            try part.finish(as: name)
            finaliser.add(.init(part: part, name: name, limit: nil))
        } catch {
            part.abandon()
            finaliser.add(.init(part: part, name: name, limit: part.wholeLength))
            fail(RecordingFailure(error))
        }
    }

    /// Closes a part that waits for the others of its group.
    func end(_ part: RecordingPart, in group: RecordingGroup) {
        do {
            try part.finish(as: group.fileName)
            group.add(part, identity, limit: nil)
        } catch {
            part.abandon()
            group.add(part, identity, limit: part.wholeLength)
            fail(RecordingFailure(error))
        }
        if names.last != group.fileName { names.append(group.fileName) }
    }

    func base(_ part: RecordingPart) -> String {
        let values = FileNameTemplate.Values(
            identity: identity, start: part.startedAt, end: part.startedAt + part.duration.milliseconds,
            duration: part.duration, audioCodec: part.journal.audioCodec, videoCodec: part.journal.videoCodec)
        return settings.template.base(values, keepsUnicode: settings.keepsUnicodeNames)
    }

    func reserveName(_ part: RecordingPart, isLast: Bool) -> String {
        let base = base(part)
        if isLast, let promised {
            self.promised = nil
            if promised.base == base, promised.name.hasSuffix("." + part.format.fileExtension) { return promised.name }
            folder.release(promised.name)
        }
        // WCS numbers the files of a rotated recording from 1 and leaves the last without a number.
        return folder.reserve(
            base: base, part: isLast ? "" : "_\(part.number)", fileExtension: part.format.fileExtension)
    }

    func attempt(_ body: () throws(ContainerError) -> Void) {
        do { try body() } catch { abandon(RecordingFailure(error)) }
    }

    /// Ends everything after an error; what was written is kept.
    func abandon(_ failure: RecordingFailure) {
        let open = [closing?.part, part].compactMap { $0 }
        closing = nil
        part = nil
        pending = []
        fail(failure)
        for (index, part) in open.enumerated() {
            part.abandon()
            guard part.wholeLength > 0, part.hasMedia else {
                part.discard()
                continue
            }
            if let group, group.reserve() {
                group.add(part, identity, limit: part.wholeLength)
                if names.last != group.fileName { names.append(group.fileName) }
                continue
            }
            let name = reserveName(part, isLast: index == open.count - 1)
            names.append(name)
            observer.recordingFileEnded(identity, name: name)
            finaliser.add(.init(part: part, name: name, limit: part.wholeLength))
        }
    }

    func fail(_ failure: RecordingFailure) {
        guard isRunning else { return }
        state = .failed(failure)
        wantsKeyFrame = false
        observer.recordingFailed(identity, failure)
    }

    func checkSpace(now: Instant) {
        guard isRunning, settings.freeSpaceFloor > 0, now >= nextSpaceCheck ?? now else { return }
        nextSpaceCheck = now + Self.spaceCheckInterval
        guard let free = folder.freeSpace() else { return }
        guard free < settings.freeSpaceFloor else { return }
        // There is still room to end the file as it should end.
        endClosing()
        if let part { end(part, isLast: true) }
        part = nil
        pending = []
        fail(.freeSpaceFloor(free: free, floor: settings.freeSpaceFloor))
    }
}
