import Foundation
import LoadGenerator
import MediaFormats
import Testing

extension ClipFrame {
    /// The frame's payloads as a publisher sends them.
    func marked(_ mark: FrameMark) -> [[UInt8]] {
        var packets = packets
        let offset = markOffset
        packets[packets.count - 1].withUnsafeMutableBytes { mark.write($0.baseAddress! + offset) }
        return packets
    }
}

extension Clip {
    /// The given frames one after another, numbered from 0 by their marks, or as they are.
    func payloads(_ order: [Int], isMarked: Bool) -> [[[UInt8]]] {
        order.enumerated().map { number, index in
            isMarked
                ? frames[index].marked(FrameMark(publisher: 513, frame: UInt32(number))) : frames[index].packets
        }
    }
}

extension Clip {
    /// Marks are found again in every frame, and none where none was written.
    func expectMarks(of publisher: UInt16, at place: SourceLocation = #_sourceLocation) {
        for (index, frame) in frames.enumerated() {
            #expect(mark(in: frame.packets, of: codec) == nil, sourceLocation: place)
            let written = FrameMark(publisher: publisher, frame: UInt32(index) + 0xffff_0000)
            #expect(mark(in: frame.marked(written), of: codec) == written, sourceLocation: place)
        }
    }

    /// FFmpeg decodes every picture of the clip and complains of nothing: as it is, looped with marks, and with jumps
    /// to the key frame.
    /// - Parameters:
    ///   - format: FFmpeg's name of the container.
    ///   - file: makes the container of RTP payloads; nil if they break a rule.
    func expectDecoded(
        as format: String, width: Int, height: Int, at place: SourceLocation = #_sourceLocation,
        file: ([[[UInt8]]]) -> [UInt8]?
    ) throws {
        let all = Array(frames.indices)
        let orders = [all, all + all, all[...7] + all, [0, 0, 1, 0] + all]
        for (order, isMarked) in zip(orders, [false, true, true, true]) {
            let media = try #require(file(payloads(order, isMarked: isMarked)), sourceLocation: place)
            let outcome = try FFmpeg.decode(media, format: format)
            #expect(outcome.complaints == "" && outcome.status == 0, sourceLocation: place)
            #expect(outcome.hashes.count == order.count, sourceLocation: place)
            #expect(outcome.pictureBytes == width * height * 3 / 2, sourceLocation: place)
        }
    }
}

/// Reads the mark that a player would find in a frame: from its last packet's length alone.
func mark(in packets: [[UInt8]], of codec: Codec) -> FrameMark? {
    guard let last = packets.last, let at = FrameMark.offset(codec: codec, payloadLength: last.count) else {
        return nil
    }
    return last.withUnsafeBytes { FrameMark.read($0.baseAddress! + at) }
}

/// RTP payloads back to a file that ffmpeg reads, written from the RFCs and not from the packetiser.
enum Depacketiser {
    /// RFC 6184 to Annex B; nil when a packet breaks a rule.
    static func annexB(_ frames: [[[UInt8]]]) -> [UInt8]? {
        let startCode: [UInt8] = [0, 0, 0, 1]
        var out: [UInt8] = []
        for packets in frames {
            var isOpen = false
            for packet in packets {
                switch packet[0] & 0x1f {
                case 24:
                    var at = 1
                    while at < packet.count {
                        let length = Int(packet[at]) << 8 | Int(packet[at + 1])
                        guard length > 0, at + 2 + length <= packet.count else { return nil }
                        out += startCode + packet[(at + 2)..<(at + 2 + length)]
                        at += 2 + length
                    }
                case 28:
                    let isStart = packet[1] & 0x80 != 0
                    guard isStart != isOpen, packet[1] & 0xc0 != 0xc0 else { return nil }
                    if isStart { out += startCode + [packet[0] & 0xe0 | packet[1] & 0x1f] }
                    out += packet[2...]
                    isOpen = packet[1] & 0x40 == 0
                case 1...23: out += startCode + packet
                default: return nil
                }
            }
            if isOpen { return nil }
        }
        return out
    }

    /// RFC 7741 to IVF.
    static func ivf(_ frames: [[[UInt8]]], framesPerSecond: Int, width: Int, height: Int) -> [UInt8]? {
        var out = Array("DKIF".utf8) + little(0, 2) + little(32, 2) + Array("VP80".utf8)
        out += little(width, 2) + little(height, 2) + little(framesPerSecond, 4) + little(1, 4)
        out += little(frames.count, 4) + little(0, 4)
        for (number, packets) in frames.enumerated() {
            for (index, packet) in packets.enumerated() where packet[0] != (index == 0 ? 0x10 : 0) { return nil }
            let frame = packets.flatMap { $0.dropFirst() }
            out += little(frame.count, 4) + little(number, 8) + frame
        }
        return out
    }

    /// RFC 7845: one packet of 20 ms a page.
    static func ogg(_ packets: [[UInt8]]) -> [UInt8] {
        let head = Array("OpusHead".utf8) + [1, 1] + little(312, 2) + little(48_000, 4) + little(0, 2) + [0]
        let tags = Array("OpusTags".utf8) + little(4, 4) + Array("weir".utf8) + little(0, 4)
        var out = page(head, kind: 2, granule: 0, sequence: 0) + page(tags, kind: 0, granule: 0, sequence: 1)
        for (index, packet) in packets.enumerated() {
            let kind: UInt8 = index == packets.count - 1 ? 4 : 0
            out += page(packet, kind: kind, granule: 960 * (index + 1), sequence: index + 2)
        }
        return out
    }

    private static func page(_ packet: [UInt8], kind: UInt8, granule: Int, sequence: Int) -> [UInt8] {
        var page = Array("OggS".utf8) + [0, kind] + little(granule, 8) + little(1, 4) + little(sequence, 4)
        let lacing = [UInt8](repeating: 255, count: packet.count / 255) + [UInt8(packet.count % 255)]
        page += little(0, 4) + [UInt8(lacing.count)] + lacing + packet
        page.replaceSubrange(22..<26, with: little(Int(checksum(page)), 4))
        return page
    }

    /// RFC 3533 §6: polynomial 0x04c11db7, not reflected, from zero.
    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        bytes.reduce(UInt32(0)) { sum, byte in
            var sum = sum ^ UInt32(byte) << 24
            for _ in 0..<8 { sum = sum & 0x8000_0000 != 0 ? sum << 1 ^ 0x04c1_1db7 : sum << 1 }
            return sum
        }
    }

    private static func little(_ value: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}

/// ffmpeg as the judge of what can be decoded. Installed by `tools/setup --tests`.
enum FFmpeg {
    static let path: String? = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        .map { "\($0)/ffmpeg" }.first { FileManager.default.isExecutableFile(atPath: $0) }

    struct Outcome {
        /// "" when nothing was wrong.
        var complaints: String
        var status: Int32
        /// One hash per picture, or per 1,024 samples or so of sound.
        var hashes: [String]
        /// Of a picture, bytes (4:2:0).
        var pictureBytes: Int?
    }

    /// - Parameter format: ffmpeg's name of the container.
    static func decode(_ media: [UInt8], format: String) throws -> Outcome {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("clip-\(UUID().uuidString).\(format)")
        try Data(media).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let errors = file.appendingPathExtension("log")
        try Data().write(to: errors)
        defer { try? FileManager.default.removeItem(at: errors) }

        let process = Process()
        process.executableURL = URL(fileURLWithPath: path ?? "/usr/bin/ffmpeg")
        // -xerror alone does not make a decoder strict: err_detect does. Every picture decoded is one line.
        process.arguments = [
            "-v", "error", "-xerror", "-err_detect", "explode", "-f", format, "-i", file.path, "-fps_mode",
            "passthrough", "-f", "framemd5", "-",
        ]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = try FileHandle(forWritingTo: errors)
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let lines = text.split(separator: "\n").filter { !$0.hasPrefix("#") }
        let fields = lines.map { $0.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) } }
        return Outcome(
            complaints: String(decoding: try Data(contentsOf: errors), as: UTF8.self),
            status: process.terminationStatus, hashes: fields.compactMap(\.last),
            pictureBytes: fields.first.flatMap { $0.count > 4 ? Int($0[4]) : nil })
    }
}
