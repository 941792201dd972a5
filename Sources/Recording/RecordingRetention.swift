import Foundation
import MediaFiles

/// Deletes old recordings: by age, and the oldest when all together are too large.
package struct RecordingRetention: Sendable, Equatable {
    /// Milliseconds; 0: no limit.
    package var maxAge: WallMillis = 0
    /// Bytes of all files together; 0: no limit.
    package var maxBytes: Int64 = 0

    package init(maxAge: WallMillis = 0, maxBytes: Int64 = 0) {
        self.maxAge = maxAge
        self.maxBytes = maxBytes
    }

    package var isUnlimited: Bool { maxAge <= 0 && maxBytes <= 0 }

    /// Files of the folder that are not ours (other extensions, hidden ones, links, folders) are neither counted nor
    /// deleted, nor are unfinished recordings.
    ///
    /// - Returns: names of the deleted files.
    package func sweep(_ folder: RecordingFolder, now: WallMillis) -> [String] {
        guard !isUnlimited else { return [] }
        var files = folder.files()
        files.sort { ($0.modifiedAt, $0.name) < ($1.modifiedAt, $1.name) }
        var total = files.reduce(Int64(0)) { $0 + $1.bytes }
        var deleted: [String] = []
        for file in files {
            let isOld = maxAge > 0 && now - file.modifiedAt > maxAge
            let isTooMuch = maxBytes > 0 && total > maxBytes
            guard isOld || isTooMuch else { continue }
            guard unlink(folder.path + "/" + file.name) == 0 else { continue }
            total -= file.bytes
            deleted.append(file.name)
        }
        return deleted
    }
}

extension RecordingFolder {
    /// A complete file, as far as its directory entry tells.
    package struct Entry: Sendable, Equatable {
        package var name: String
        package var bytes: Int64
        package var modifiedAt: WallMillis
    }

    /// Complete files, in no order.
    package func files() -> [Entry] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        return names.compactMap { entry($0) }
    }

    /// One file; nil if no recording of this name is in the folder. Safe for names from the network.
    package func entry(_ name: String) -> Entry? {
        guard !name.hasPrefix("."), !name.utf8.contains(UInt8(ascii: "/")), !name.utf8.contains(0),
            name.utf8.count <= FileNameTemplate.longestName, ContainerFormat(fileName: name) != nil
        else { return nil }
        var status = stat()
        guard lstat(path + "/" + name, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        let modified = Int64(status.st_mtim.tv_sec) * 1_000 + Int64(status.st_mtim.tv_nsec) / 1_000_000
        return Entry(name: name, bytes: Int64(status.st_size), modifiedAt: modified)
    }

    /// Deletes a complete file; false if there is none of this name.
    package func delete(_ name: String) -> Bool { entry(name) != nil && unlink(path + "/" + name) == 0 }
}
