import Glibc
import MediaFiles
import Wire

/// Groups: the parts of several streams become the tracks of one file.
extension RecordingFinaliser {
    /// On the finaliser's thread.
    func join(_ job: Job) throws(ContainerError) -> RecordedFile {
        var bytes: Int64 = 0
        var sources: [Remuxer.Source] = []
        for member in job.members {
            let path = folder.partPath(member.id, member.format)
            guard let length = fileLength(path) else { throw .system(errno: errno) }
            bytes += min(length, member.limit ?? length)
            sources.append(
                Remuxer.Source(
                    path: path, limit: member.limit, offset: .milliseconds(max(0, member.startedAt - job.startedAt)),
                    title: member.title))
        }
        // Without room for the whole the parts stay, and the next start tries again.
        guard hasRoom(for: bytes) else { throw .system(errno: ENOSPC) }
        let target = folder.finalPath(job.id)
        unlink(target)
        do {
            let result = try write(sources, to: target, job)
            let name = try folder.publishGroup(job.id, parts: job.members.map { ($0.id, $0.format) }, as: job.name)
            return file(job, name: name, duration: result.duration, bytes: result.bytes, isIndexed: true)
        } catch {
            unlink(target)
            throw error
        }
    }

    // MARK: Repair

    /// Finds groups of an earlier run and queues their files.
    ///
    /// - Returns: how many files will appear, and the ids of what has been taken care of.
    func repairGroups(
        _ leftovers: [RecordingFolder.Leftover], _ journals: [String: RecordingJournal]
    ) -> (files: Int, taken: Set<String>) {
        var parts: [String: [RecordingFolder.Leftover]] = [:]
        for leftover in leftovers {
            if let group = journals[leftover.id]?.identity.group { parts[group, default: []].append(leftover) }
        }
        for leftover in leftovers where leftover.hasJoined { parts[leftover.id, default: []] += [] }
        var files = 0
        var taken: Set<String> = []
        for (group, members) in parts.sorted(by: { $0.key < $1.key }) {
            taken.insert(group)
            taken.formUnion(members.map(\.id))
            let head = journals[group] ?? lostHead(group, members.compactMap { journals[$0.id] })
            let isJoined = leftovers.contains { $0.id == group && $0.hasJoined }
            let isQueued = isJoined ? publishJoined(head, members) : repair(head, members, journals)
            if isQueued { files += 1 }
        }
        return (files, taken)
    }

    /// A group whose own journal is gone: its parts know what is needed.
    private func lostHead(_ group: String, _ members: [RecordingJournal]) -> RecordingJournal {
        var head = Self.unknown(group)
        head.startedAt = members.map(\.startedAt).min() ?? head.startedAt
        head.name = members.compactMap(\.name).first
        return head
    }

    private func repair(
        _ head: RecordingJournal, _ leftovers: [RecordingFolder.Leftover], _ journals: [String: RecordingJournal]
    ) -> Bool {
        unlink(folder.finalPath(head.id))
        var members: [RecordingGroup.Member] = []
        var wasTorn = false
        for leftover in leftovers {
            guard let format = leftover.part, let journal = journals[leftover.id] else {
                folder.removeRest(leftover.id)
                continue
            }
            guard let torn = try? TornFile.inspect(path: folder.partPath(leftover.id, format), format: format) else {
                observer.recordingNotFinalised(journal.identity, .folderGone)
                return false
            }
            guard !torn.isEmpty else {
                observer.recordingRepaired(journal.identity, bytes: 0, lost: torn.tornBytes + torn.wholeLength)
                folder.remove(leftover.id, format)
                continue
            }
            if journal.name == nil {
                wasTorn = true
                observer.recordingRepaired(journal.identity, bytes: torn.wholeLength, lost: torn.tornBytes)
            }
            members.append(
                .init(
                    id: leftover.id, format: format, limit: torn.wholeLength, startedAt: journal.startedAt,
                    title: RecordingGroup.title(journal.identity.streamName)))
        }
        guard !members.isEmpty else {
            folder.removeRest(head.id)
            return false
        }
        let format = head.name.flatMap { ContainerFormat(fileName: $0) } ?? .mkv
        let asked = head.name.flatMap { name in name.lastIndex(of: ".").map { String(name[..<$0]) } }
        let base = asked ?? FileNameTemplate.safe(head.identity.fileName ?? "recovered", keepsUnicode: false)
        let name = folder.reserve(base: base, part: "", fileExtension: format.fileExtension)
        var job = RecordingGroup.job(id: head.id, head.identity, format, name, members)
        job.wasRepaired = wasTorn
        add(job)
        return true
    }

    /// The file was whole when the process died; only its last rename is missing.
    private func publishJoined(_ head: RecordingJournal, _ leftovers: [RecordingFolder.Leftover]) -> Bool {
        let parts = leftovers.compactMap { leftover in leftover.part.map { (leftover.id, $0) } }
        let name = head.name ?? "recovered-\(head.id).mkv"
        guard let format = ContainerFormat(fileName: name),
            let probe = try? MediaProbe(path: folder.joinedPath(head.id)),
            let published = try? folder.publishGroup(head.id, parts: parts, as: name)
        else {
            observer.recordingNotFinalised(head.identity, .folderGone)
            return false
        }
        var job = Job(
            id: head.id, identity: head.identity, format: format, name: published, limit: nil,
            startedAt: head.startedAt, part: 1)
        job.wasRepaired = true
        let complete = file(job, name: published, duration: probe.duration, bytes: probe.bytes, isIndexed: true)
        observer.recordingFileCompleted(complete)
        hook?.run(for: complete)
        return true
    }
}
