import Glibc
import MediaFiles
import MediaFormats
import Wire

/// Input: one byte that names the format, then the file as a crash has left it. Walks its borders, then repairs it as the
/// next start would: our own walk and the forms of samples are instrumented, libavformat is not, but runs.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 1, count <= mostBytes else { return 0 }
    _ = boundedAllocations
    let input = UnsafeRawBufferPointer(start: data, count: count)
    let formats = ContainerFormat.allCases
    let format = formats[Int(input[0]) % formats.count]
    let bytes = [UInt8](input.dropFirst())
    let torn = inspect(bytes, format)
    precondition(torn.wholeLength >= 0 && torn.wholeLength + torn.tornBytes == Int64(bytes.count), "bounds")
    precondition(torn.fragments >= 0 && torn.fragments <= bytes.count, "fragments")
    // What is whole is whole by itself.
    let again = inspect(Array(bytes.prefix(Int(torn.wholeLength))), format)
    precondition(again.wholeLength == torn.wholeLength && again.fragments == torn.fragments, "cutting changes nothing")
    repair(bytes, torn, format)
    if let time = FileTime.parse(String(decoding: bytes.prefix(64), as: UTF8.self)) {
        precondition(time >= 0, "times since 1970")
    }
    return 0
}

private let mostBytes = 64 << 10
private let boundedAllocations: Void = LibAV.bound(allocations: 16 << 20)
private let path = "/dev/shm/weir-fuzz-torn-\(getpid())"

private func inspect(_ bytes: [UInt8], _ format: ContainerFormat) -> TornFile {
    TornFile.inspect(format: format, length: Int64(bytes.count)) { offset, count in
        precondition(offset >= 0 && count >= 0 && offset <= Int64(bytes.count), "reads within the file")
        return Array(bytes[Int(offset)..<min(bytes.count, Int(offset) + count)])
    }
}

private func repair(_ bytes: [UInt8], _ torn: TornFile, _ format: ContainerFormat) {
    unlink(path)
    guard let file = try? FileOutput(creating: path, seekable: false) else { return }
    _ = bytes.withUnsafeBytes { file.write($0) }
    _ = file.close()
    defer { unlink(path) }
    let output = CountingOutput()
    let limit = torn.isEmpty ? nil : torn.wholeLength
    if let result = try? Remuxer(source: path, limit: limit, format: format).run(into: output) {
        precondition(result.duration >= .zero && result.samples.contains { $0 > 0 }, "a file with something in it")
    }
    // Joined to itself, as streams of one file are.
    let source = Remuxer.Source(path: path, limit: limit)
    let later = Remuxer.Source(path: path, limit: limit, offset: .seconds(3), title: "later")
    if let result = try? Remuxer(sources: [source, later], format: format).run(into: CountingOutput()) {
        precondition(result.samples.count % 2 == 0 && result.duration >= .zero, "the tracks of both")
    }
    guard let demuxer = try? Demuxer(path: path, selection: .all) else { return }
    var budget = 10_000
    while budget > 0, let sample = try? demuxer.next() {
        precondition(sample.frame.track < demuxer.tracks.count && !sample.frame.data.isEmpty, "frames of known tracks")
        budget -= 1
    }
}
