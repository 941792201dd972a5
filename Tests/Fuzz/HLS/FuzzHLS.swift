import HLS
import MediaFormats
import Wire

/// Input: one byte of choices, then what comes from outside.
/// - 0: the path of a request. 1: its query.
/// - 2: parameter sets or a key frame of a publisher, after a byte that chooses the codec.
/// - 3: frames of a publisher, four bytes each: track and flags, time step, and two of data.
/// - 4: what comes in on a connection.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 0 else { return 0 }
    let input = UnsafeRawBufferPointer(start: data, count: count)
    let bytes = [UInt8](input[1...])
    switch input[0] % 5 {
    case 0: path(String(decoding: bytes, as: UTF8.self))
    case 1: query(String(decoding: bytes, as: UTF8.self))
    case 2: describe(bytes)
    case 4: head(bytes)
    default: segment(bytes)
    }
    return 0
}

/// What is read is what we would write, and never leads out of the stream's own folder.
private func path(_ text: String) {
    guard let path = HLSPath(text) else { return }
    precondition(!path.stream.isEmpty && path.stream != ".." && !path.stream.contains("/"), "a name")
    let name = HLSPath.encode(path.stream)
    switch path.resource {
    case .multivariant: precondition(HLSPath("/\(name)/\(name).m3u8") == path, "a multivariant playlist")
    case .playlist(let rendition), .map(let rendition, _, _), .segment(let rendition, _, _),
        .part(let rendition, _, _, _):
        precondition(HLSPath.isRendition(rendition), "a rendition")
        precondition(HLSPath("/\(name)/\(rendition)/\(path.resource.fileName())") == path, "a resource")
    }
}

private func query(_ text: String) {
    guard let directives = try? DeliveryDirectives.parse(query: text) else { return }
    precondition(directives.part == nil || directives.sequenceNumber != nil, "a part of a segment")
    var window = StreamWindow(renditions: ["main"], makeToken: { "t" })
    for _ in 0..<2 {
        window.begin(at: window.endTime, programDate: 0, isDiscontinuity: false, maps: nil)
        window.add(.init(duration: .milliseconds(300), media: [PlainBytes([1])], isIndependent: [true]))
        if window.segments.isEmpty { window.endSegment(now: .zero) }
    }
    if let number = directives.sequenceNumber { _ = window.position(segment: number, part: directives.part) }
    _ = window.playlist(rendition: 0).text(skipping: directives.skip != nil)
}

/// What has been taken for a head is one, whatever follows it, and needs all of its bytes.
private func head(_ bytes: [UInt8]) {
    guard case .head(let head) = RequestHead.parse(bytes) else { return }
    precondition(head.count <= bytes.count && head.count <= RequestHead.maxBytes, "bytes that are there")
    let whole = Array(bytes.prefix(head.count))
    precondition(whole.suffix(4).elementsEqual("\r\n\r\n".utf8) && head.path.first == UInt8(ascii: "/"), "a head")
    precondition(RequestHead.parse(whole) == .head(head), "alone as before others")
    precondition(RequestHead.parse(Array(whole.dropLast())) == .incomplete, "no head before its end")
    _ = HLSPath(bytes: head.path)
}

private func describe(_ bytes: [UInt8]) {
    guard let first = bytes.first else { return }
    let codec = Codec.allCases[Int(first) % Codec.allCases.count]
    let rest = Array(bytes.dropFirst())
    // Each set begins with its length.
    var sets: [[UInt8]] = []
    var at = 0
    while at < rest.count {
        let length = min(Int(rest[at]), rest.count - at - 1)
        sets.append(Array(rest[(at + 1)..<(at + 1 + length)]))
        at += 1 + length
    }
    let frame = MediaFrame(track: 0, data: rest, time: .zero, parameterSets: sets)
    guard let configuration = CodecConfiguration(TrackDescription(codec: codec), keyFrame: frame) else { return }
    precondition(configuration.name.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x2c }, "a name for CODECS")
    var writer = FragmentedMP4()
    let track = OutputTrack(configuration: configuration, size: VideoSize(width: 320, height: 180))
    precondition(writer.begin([track])?.isEmpty == false, "an initialisation section")
    let sample = Sample(data: rest, time: .zero, duration: .milliseconds(20))
    precondition(!writer.part([[sample]], isFirst: true).isEmpty, "a part")
}

/// Whatever the times are: no part is longer than its target, and no segment than its own.
private func segment(_ bytes: [UInt8]) {
    let tracks = [
        TrackDescription(codec: .h264, parameterSets: [[0x67, 0x42, 0, 0x1e, 0xf4], [0x68, 1]]),
        TrackDescription(codec: .opus),
    ]
    let settings = Segmenter.Settings()
    var segmenter = Segmenter(tracks: tracks, settings: settings, unixTimeAtZero: 0)
    var time = Interval.zero
    var now = Instant.zero
    var segmentDuration = Interval.zero
    func check(_ events: [Segmenter.Event]) {
        for event in events {
            switch event {
            case .beginSegment: segmentDuration = .zero
            case .part(let part):
                precondition(part.duration > .zero && part.duration <= settings.partTarget, "a part's duration")
                segmentDuration = segmentDuration + part.duration
                precondition(segmentDuration.seconds.rounded() <= Double(settings.targetDuration), "a segment's")
            case .endSegment, .needKeyFrame, .longGroups: break
            }
        }
    }
    for at in stride(from: 0, to: min(bytes.count, 4_096) - 3, by: 4) {
        let (kind, step) = (bytes[at], Int64(Int8(bitPattern: bytes[at + 1])))
        let scale: Int64 = kind & 0x10 != 0 ? 1_000 : kind & 0x20 != 0 ? 1 : 20
        time = time + .milliseconds(step &* scale)
        now = now + .milliseconds(abs(step) &* (kind & 0x40 != 0 ? 1 : 20))
        let frame = MediaFrame(
            track: Int(kind & 1), data: Array(bytes[(at + 2)...(at + 3)]), time: time,
            duration: kind & 1 == 1 ? .milliseconds(20) : nil, isKeyFrame: kind & 2 != 0,
            flags: kind & 4 != 0 ? .discontinuity : [], parameterSets: kind & 8 != 0 ? tracks[0].parameterSets : nil)
        check(segmenter.append(frame, now: now))
        if kind & 0x80 != 0 { check(segmenter.advance(now: now)) }
    }
    check(segmenter.finish())
}
