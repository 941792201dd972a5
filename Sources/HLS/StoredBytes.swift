/// Bytes of a part, an initialisation section or a playlist in the form in which they are sent: written once, shared by
/// all answers.
package protocol StoredBytes: Sendable {
    var count: Int { get }
    /// A copy, for moving them elsewhere.
    var bytes: [UInt8] { get }
}

/// Bytes as they are.
package struct PlainBytes: StoredBytes {
    package let bytes: [UInt8]
    package init(_ bytes: [UInt8]) { self.bytes = bytes }
    package var count: Int { bytes.count }
}

/// A stretch of a file that holds what memory has no room for.
package struct FileBytes: Sendable {
    package let file: SpillFile
    package let offset: Int
    package let count: Int
}

/// Where the bytes of a segment are now.
package enum MediaBytes: Sendable {
    /// In the order in which they are to be sent.
    case memory([any StoredBytes])
    case file(FileBytes)

    package var count: Int {
        switch self {
        case .memory(let pieces): pieces.reduce(0) { $0 + $1.count }
        case .file(let stretch): stretch.count
        }
    }
}
