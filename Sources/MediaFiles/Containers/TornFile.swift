import Glibc

/// How much of a file that was being written when its writer died can be relied on.
///
/// Only borders are read here: top-level boxes of MP4 (ISO/IEC 14496-12 §4.2), elements of a Matroska segment (RFC 8794,
/// RFC 9559 §5.1), packets of a transport stream. The bytes are hostile: every length is checked against the file's, and
/// a step that does not move on ends the walk.
package struct TornFile: Equatable, Sendable {
    /// Bytes from the beginning that form a readable file: its head and whole fragments. 0: not even a head.
    package var wholeLength: Int64
    /// Whole fragments (MP4), clusters (Matroska) in it; packets for transport streams.
    package var fragments: Int
    /// Bytes behind `wholeLength`.
    package var tornBytes: Int64

    /// Nothing in it that can be played.
    package var isEmpty: Bool { fragments == 0 }

    /// Gives up to `count` bytes from `offset` on; fewer at the end or when they cannot be read.
    package typealias Reader = (_ offset: Int64, _ count: Int) -> [UInt8]

    /// Walks a file in any state.
    package static func inspect(path: String, format: ContainerFormat) throws(ContainerError) -> TornFile {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { throw .system(errno: errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw .wrongFormat }
        var readError: Int32 = 0
        let torn = inspect(format: format, length: Int64(status.st_size)) { offset, count in
            [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                filled = 0
                while filled < count {
                    let got = pread(descriptor, buffer.baseAddress! + filled, count - filled, off_t(offset) + filled)
                    if got < 0 && errno == EINTR { continue }
                    if got < 0 { readError = errno }
                    guard got > 0 else { return }
                    filled += got
                }
            }
        }
        guard readError == 0 else { throw .system(errno: readError) }
        return torn
    }

    package static func inspect(format: ContainerFormat, length: Int64, read: Reader) -> TornFile {
        let found =
            switch format {
            case .mp4: boxes(length: length, read: read)
            case .webm, .mkv: elements(length: length, read: read)
            case .ts: packets(length: length, read: read)
            }
        return TornFile(wholeLength: found.whole, fragments: found.fragments, tornBytes: length - found.whole)
    }

    // MARK: MP4

    private static func boxes(length: Int64, read: Reader) -> (whole: Int64, fragments: Int) {
        var at: Int64 = 0
        var whole: Int64 = 0
        var fragments = 0
        var hasHead = false
        var hasMoof = false
        while let box = box(at: at, length: length, read: read) {
            at = box.end
            switch box.type {
            case 0x6d6f_6f76:  // moov
                hasHead = true
                whole = at
            case 0x6d6f_6f66:  // moof
                guard hasHead else { return (0, 0) }
                hasMoof = true
            case 0x6d64_6174:  // mdat
                guard hasHead, hasMoof else { return (whole, fragments) }
                hasMoof = false
                fragments += 1
                whole = at
            // What else may stand at the top: ftyp, styp, sidx, free, skip, mfra, emsg, prft, uuid.
            case 0x6674_7970, 0x7374_7970, 0x7369_6478, 0x6672_6565, 0x736b_6970, 0x6d66_7261, 0x656d_7367,
                0x7072_6674, 0x7575_6964:
                if hasHead && !hasMoof { whole = at }
            default: return (whole, fragments)
            }
        }
        return (whole, fragments)
    }

    /// A box that lies within the file as a whole.
    private static func box(at: Int64, length: Int64, read: Reader) -> (type: UInt32, end: Int64)? {
        guard length - at >= 8 else { return nil }
        let head = read(at, 16)
        guard head.count >= 8 else { return nil }
        let type = head[4..<8].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        var size = head[0..<4].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        var least: UInt64 = 8
        if size == 1 {
            guard head.count == 16 else { return nil }
            size = head[8..<16].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            least = 16
        }
        // Size 0, "to the end of the file", is not ours; zeros are what a power loss leaves.
        guard size >= least, size <= UInt64(length - at) else { return nil }
        return (type, at + Int64(size))
    }

    // MARK: Matroska

    private static let ebmlHead: UInt32 = 0x1a45_dfa3
    private static let segment: UInt32 = 0x1853_8067
    private static let cluster: UInt32 = 0x1f43_b675
    private static let tracks: UInt32 = 0x1654_ae6b
    /// SeekHead, Info, Cues, Tags, Attachments, Chapters, Void, CRC-32: what else may stand in a segment.
    private static let others: Set<UInt32> = [
        0x114d_9b74, 0x1549_a966, 0x1c53_bb6b, 0x1254_c367, 0x1941_a469, 0x1043_a770, 0xec, 0xbf,
    ]

    private static func elements(length: Int64, read: Reader) -> (whole: Int64, fragments: Int) {
        guard let head = element(at: 0, length: length, read: read), head.id == ebmlHead, let headEnd = head.end,
            let body = element(at: headEnd, length: length, read: read, openEnded: true), body.id == segment
        else { return (0, 0) }
        var at = body.content
        var whole: Int64 = 0
        var clusters = 0
        var hasTracks = false
        while let element = element(at: at, length: length, read: read), let end = element.end {
            switch element.id {
            case tracks: hasTracks = true
            case cluster:
                guard hasTracks else { return (0, 0) }
                clusters += 1
            case let id where others.contains(id): break
            default: return (whole, clusters)
            }
            at = end
            if hasTracks { whole = at }
        }
        return (whole, clusters)
    }

    /// - Parameter openEnded: the element's size may be unknown or beyond the file's end; `end` is nil then.
    private static func element(
        at: Int64, length: Int64, read: Reader, openEnded: Bool = false
    ) -> (id: UInt32, content: Int64, end: Int64?)? {
        let head = read(at, 12)
        guard let first = head.first, first != 0 else { return nil }
        let idLength = first.leadingZeroBitCount + 1
        guard idLength <= 4, head.count > idLength else { return nil }
        let id = head[0..<idLength].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        let sizeHead = head[idLength]
        guard sizeHead != 0 else { return nil }
        let sizeLength = sizeHead.leadingZeroBitCount + 1
        guard head.count >= idLength + sizeLength else { return nil }
        var size = UInt64(sizeHead) & (UInt64(0xff) >> UInt64(sizeLength))
        for byte in head[(idLength + 1)..<(idLength + sizeLength)] { size = size << 8 | UInt64(byte) }
        let content = at + Int64(idLength + sizeLength)
        let isUnknown = size == (UInt64(1) << UInt64(7 * sizeLength)) - 1
        guard content <= length else { return nil }
        guard !isUnknown, size <= UInt64(length - content) else { return openEnded ? (id, content, nil) : nil }
        return (id, content, content + Int64(size))
    }

    // MARK: MPEG-TS

    private static let packetLength: Int64 = 188
    private static let syncByte: UInt8 = 0x47

    private static func packets(length: Int64, read: Reader) -> (whole: Int64, fragments: Int) {
        guard read(0, 1).first == syncByte else { return (0, 0) }
        var count = length / packetLength
        // Zeros at the end are what a power loss leaves: back to the last packet that begins as one.
        while count > 0, read((count - 1) * packetLength, 1).first != syncByte { count -= 1 }
        return (count * packetLength, Int(count))
    }
}
